"""The parts of the document that many routes share: headers, parameters, errors."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from config.contract.codes import CODES

Schema = dict[str, Any]

_ID = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,128}$"}
_MESSAGES = {
    400: "The request is not valid",
    401: "Authentication is required",
    402: "The organisation has no valid subscription",
    403: "You may not do this",
    404: "Not found",
    405: "Method not allowed",
    408: "The body did not arrive in time",
    409: "The request id belongs to another event",
    413: "The body is too large",
    415: "Send application/json",
    429: "Quota exceeded",
    500: "Something went wrong on our side",
    502: "The payment provider failed",
    503: "Try again shortly",
}
_RESPONSES = {
    400: "BadRequest",
    401: "Unauthorized",
    402: "PaymentRequired",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    409: "Conflict",
    413: "ContentTooLarge",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
}
#: Header names of the answers of every route, and of some errors besides; True: always there.
EVERYWHERE = {"x-request-id": True, "x-correlation-id": True}
_OF_ERRORS: Mapping[int, Mapping[str, bool]] = {
    401: {"WWW-Authenticate": True},
    402: {"Idempotent-Replayed": False},
    405: {"Allow": False},
    409: {"Retry-After": False, "Idempotent-Replayed": False},
    429: {"Retry-After": True, "RateLimit": False, "RateLimit-Policy": False},
    503: {"Retry-After": True},
}
_RETRY_AFTER = (
    "^([0-9]+|[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT)$"
)


def headers(names: Mapping[str, bool]) -> dict[str, Schema]:
    """Return references to headers of a response, by name; True: it is always there."""
    return {
        name: {"$ref": f"#/components/headers/{_header_key(name, always)}"}
        for name, always in names.items()
    }


def error_reference(status: int) -> Schema:
    """Return a reference to what a status of 400 and above looks like."""
    return {"$ref": f"#/components/responses/{_RESPONSES[status]}"}


def parameter(key: str) -> Schema:
    """Return a reference to a request header by its key in `_parameters`."""
    return {"$ref": f"#/components/parameters/{key}"}


def shared() -> dict[str, dict[str, Schema]]:
    """Return all of them, by kind and name."""
    return {
        "headers": _headers(),
        "parameters": _parameters(),
        "responses": {name: _error_response(status) for status, name in _RESPONSES.items()},
        "schemas": _schemas(),
    }


def _header_key(name: str, always: bool) -> str:
    words = "".join(f"{word[:1].upper()}{word[1:]}" for word in name.removeprefix("x-").split("-"))
    return words if always else f"Optional{words}"


def _headers() -> dict[str, Schema]:
    described: dict[str, tuple[str, Schema]] = {
        "x-request-id": ("The request's id: the client's own where it was well formed.", _ID),
        "x-correlation-id": ("What it belongs to; by default the request's id.", _ID),
        settings.TENANT_HEADER: ("The organisation acted for, where it is known.", _ID),
        "Retry-After": (
            "Seconds, or for a spent quota the instant at which the next period begins.",
            {"type": "string", "pattern": _RETRY_AFTER},
        ),
        "RateLimit": (
            'What is left: `"<metric>";r=<units>;t=<seconds until the reset>`.',
            {"type": "string", "pattern": '^"[^"]+";r=[0-9]+;t=[0-9]+$'},
        ),
        "RateLimit-Policy": (
            'What is included: `"<metric>";q=<units>;w=<seconds of the period>`.',
            {"type": "string", "pattern": '^"[^"]+";q=[0-9]+;w=[0-9]+$'},
        ),
        "Idempotent-Replayed": (
            "There where this is what an earlier request was answered.",
            {"type": "string", "enum": ["true"]},
        ),
        "Cache-Control": ("Whether it may be kept.", {"type": "string"}),
        "WWW-Authenticate": ("How to authenticate.", {"type": "string", "enum": ["Bearer"]}),
        "Allow": ("The methods there are.", {"type": "string"}),
        "Content-Disposition": ("The name of the file.", {"type": "string"}),
    }
    return {
        _header_key(name, always): {
            "description": description,
            "required": always,
            "schema": schema,
        }
        for name, (description, schema) in described.items()
        for always in (True, False)
    }


def _parameters() -> dict[str, Schema]:
    described = {
        "RequestId": (
            "x-request-id",
            "An id of your own for this request: 1 to 128 of `A-Za-z0-9._:-`. Any other is"
            " replaced by one that we make.",
            {"type": "string"},
        ),
        "CorrelationId": (
            "x-correlation-id",
            "An id of your own for what the request belongs to, as above.",
            {"type": "string"},
        ),
        "Tenant": (
            settings.TENANT_HEADER,
            "The organisation to act for: of an organisation's token, its own; operators name"
            " one here where no field and no parameter does.",
            {"type": "string", "minLength": 1, "maxLength": 30},
        ),
        "IdempotencyKey": (
            "Idempotency-Key",
            "Repeats with the same key and body are answered as the first was, for 24 hours.",
            {
                "type": "string",
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^[\\x21-\\x7e]([\\x20-\\x7e]*[\\x21-\\x7e])?$",
            },
        ),
    }
    return {
        key: {
            "name": name,
            "in": "header",
            "required": False,
            "description": description,
            "schema": schema,
        }
        for key, (name, description, schema) in described.items()
    }


def _error_response(status: int) -> Schema:
    code, made_up = CODES[status][0], "019a2b3c4d5e"
    example = {
        "ok": False,
        "error": {"code": code, "message": _MESSAGES[status]},
        "meta": {"requestId": made_up, "correlationId": made_up},
    }
    names = {**EVERYWHERE, **_OF_ERRORS.get(status, {}), settings.TENANT_HEADER: False}
    return {
        "description": _MESSAGES[status],
        "headers": headers(names),
        "content": {
            "application/json": {
                "schema": {
                    "allOf": [
                        {"$ref": "#/components/schemas/Error"},
                        {
                            "type": "object",
                            "properties": {
                                "error": {
                                    "type": "object",
                                    "properties": {"code": {"enum": list(CODES[status])}},
                                }
                            },
                        },
                    ]
                },
                "examples": {code: {"value": example}},
            }
        },
    }


def _schemas() -> dict[str, Schema]:
    return {
        "ErrorCode": {
            "description": "What went wrong, for programs. Codes are never renamed.",
            "type": "string",
            "enum": [code for codes in CODES.values() for code in codes],
        },
        "Error": {
            "description": "Every refusal. `data` stands there where use was denied.",
            "type": "object",
            "required": ["ok", "error", "meta"],
            "properties": {
                "ok": {"const": False},
                "data": {"$ref": "#/components/schemas/Denial"},
                "error": {"$ref": "#/components/schemas/ErrorDetail"},
                "meta": {"$ref": "#/components/schemas/ErrorMeta"},
            },
            "additionalProperties": False,
        },
        "ErrorDetail": {
            "description": "A code for programs and a message for people.",
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"$ref": "#/components/schemas/ErrorCode"},
                "message": {"type": "string"},
                "details": {
                    "description": "What the code is about; for VALIDATION_ERROR the fields.",
                    "type": "object",
                    "properties": {
                        "fields": {
                            "type": "object",
                            "additionalProperties": {"type": "array", "items": {"type": "string"}},
                        }
                    },
                },
            },
            "additionalProperties": False,
        },
        "ErrorMeta": {
            "description": "What to quote to support.",
            "type": "object",
            "required": ["requestId", "correlationId"],
            "properties": {"requestId": _ID, "correlationId": _ID},
            "additionalProperties": False,
        },
        "Denial": {
            "description": "The use was not allowed.",
            "type": "object",
            "required": ["allow", "remaining"],
            "properties": {"allow": {"const": False}, "remaining": {"const": 0}},
            "additionalProperties": False,
        },
    }
