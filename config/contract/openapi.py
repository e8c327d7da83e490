"""From msgspec shapes to the OpenAPI document."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
)

V = TypeVar("V", bound=Callable[..., Any])

_ERROR_TEXTS = {
    400: ("VALIDATION_ERROR", "The request is not valid"),
    401: ("UNAUTHENTICATED", "Authentication is required"),
    402: ("PAYMENT_REQUIRED", "The organisation has no valid subscription"),
    403: ("SCOPE_MISSING", "The token lacks the scope for this"),
    404: ("NOT_FOUND", "Not found"),
    409: ("REQUEST_ID_CONFLICT", "The request id belongs to another event"),
    413: ("PAYLOAD_TOO_LARGE", "The body is too large"),
    415: ("UNSUPPORTED_MEDIA_TYPE", "Send application/json"),
    429: ("RATE_LIMITED", "Quota exceeded"),
    502: ("STRIPE_ERROR", "Stripe could not do this"),
    503: ("UNAVAILABLE", "Try again shortly"),
}
_ERROR_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["ok", "error", "meta"],
    "properties": {
        "ok": {"const": False},
        "data": {"type": "object"},
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "details": {"type": "object"},
            },
        },
        "meta": {
            "type": "object",
            "required": ["requestId", "correlationId"],
            "properties": {
                "requestId": {"type": "string"},
                "correlationId": {"type": "string"},
            },
        },
    },
}


def documented(
    *,
    summary: str,
    tag: str,
    answer: type,
    answer_example: Mapping[str, Any],
    status: int = 200,
    body: type | None = None,
    body_example: Mapping[str, Any] | None = None,
    query: type | None = None,
    headers: Sequence[tuple[str, str]] = (),
    errors: Sequence[int] = (),
    public: bool = False,
    description: str = "",
) -> Callable[[V], V]:
    """Describe one operation: its shapes, an example of each, and the errors it knows."""
    parameters = [
        OpenApiParameter(name, str, OpenApiParameter.HEADER, description=text)
        for name, text in headers
    ]
    if query is not None:
        shape = schema_of(query)
        parameters += [
            OpenApiParameter(
                name,
                inner,
                OpenApiParameter.QUERY,
                required=name in shape.get("required", ()),
            )
            for name, inner in shape["properties"].items()
        ]
    responses: dict[int, Any] = {
        status: OpenApiResponse(
            response=_envelope(schema_of(answer)),
            description="Done",
            examples=[OpenApiExample("answer", value={"ok": True, "data": dict(answer_example)})],
        )
    }
    for code in sorted({*errors, 400, 503} | (set() if public else {401, 403})):
        responses[code] = OpenApiResponse(
            response=_ERROR_SCHEMA,
            description=_ERROR_TEXTS[code][1],
            examples=[_error_example(code)],
        )
    request: Any = None
    if body is not None:
        request = OpenApiRequest(
            request=schema_of(body),
            examples=[OpenApiExample("request", value=dict(body_example or {}))],
        )
    extra: dict[str, Any] = {"auth": []} if public else {}
    return extend_schema(
        summary=summary,
        description=description or None,
        tags=[tag],
        request={"application/json": request} if request else None,
        parameters=parameters,
        responses=responses,
        **extra,
    )


def schema_of(shape: type) -> dict[str, Any]:
    """Return the JSON Schema of a msgspec shape with every reference written out."""
    schema = msgspec.json.schema(shape)
    definitions = schema.pop("$defs", {})

    def inlined(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return inlined(definitions[node["$ref"].rpartition("/")[2]])
            return {key: inlined(value) for key, value in node.items()}
        if isinstance(node, list):
            return [inlined(item) for item in node]
        return node

    resolved: dict[str, Any] = inlined(schema)
    return resolved


def _envelope(data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["ok", "data"],
        "properties": {"ok": {"const": True}, "data": dict(data)},
    }


def _error_example(code: int) -> OpenApiExample:
    name, message = _ERROR_TEXTS[code]
    made_up = "019a2b3c4d5e"
    return OpenApiExample(
        name,
        value={
            "ok": False,
            "error": {"code": name, "message": message},
            "meta": {"requestId": made_up, "correlationId": made_up},
        },
    )
