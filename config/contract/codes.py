"""Every error code of the API, by the status it comes with. Codes are never renamed."""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

CODES: Mapping[int, tuple[str, ...]] = {
    400: ("VALIDATION_ERROR", "MALFORMED_JSON", "SIGNATURE_INVALID"),
    401: ("UNAUTHENTICATED", "TOKEN_EXPIRED", "CODE_INVALID", "REFRESH_INVALID"),
    402: ("PAYMENT_REQUIRED",),
    403: ("FORBIDDEN", "SCOPE_MISSING", "TENANT_MISMATCH", "DOMAIN_MISMATCH", "ORG_SUSPENDED"),
    404: ("NOT_FOUND",),
    405: ("METHOD_NOT_ALLOWED",),
    408: ("REQUEST_TIMEOUT",),
    409: (
        "REQUEST_ID_CONFLICT",
        "IDEMPOTENCY_CONFLICT",
        "IDEMPOTENCY_IN_PROGRESS",
        "PLAN_CHANGE_CONFLICT",
        "PLAN_CHANGE_IN_PROGRESS",
        "PREVIEW_STALE",
        "PERIOD_CLOSED",
        "EVENT_SETTLED",
        "INSTALLATION_LIMIT",
    ),
    413: ("PAYLOAD_TOO_LARGE",),
    415: ("UNSUPPORTED_MEDIA_TYPE",),
    429: ("RATE_LIMITED", "THROTTLED"),
    500: ("INTERNAL",),
    502: ("STRIPE_ERROR",),
    503: ("UNAVAILABLE",),
}

#: A code inside the data of an answer.
Code = Annotated[str, Meta(extra_json_schema={"$ref": "#/components/schemas/ErrorCode"})]
