"""The base of every refusal, and the refusals that belong to no single app."""

from collections.abc import Mapping, Sequence
from typing import Any


class ApiError(Exception):
    """A refusal that a client can act on.

    `code` is stable and part of the contract; `message` is for people and holds
    no input, secret or word about another tenant. `data` stands beside `error`
    (only the standard denial uses it); `headers` are added to the response.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int,
        details: Mapping[str, Any] | None = None,
        *,
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.details = details
        self.data = data
        self.headers = dict(headers or {})


class ValidationFailed(ApiError):
    """The body or the query does not have the shape the route asks for."""

    def __init__(self, fields: Mapping[str, Sequence[str]]) -> None:
        super().__init__(
            "VALIDATION_ERROR",
            "The request is not valid",
            400,
            {"fields": {path: list(texts) for path, texts in fields.items()}},
        )


class UnknownParameter(ValidationFailed):
    """The query string holds a parameter that the route does not take. Its name is not echoed."""

    def __init__(self) -> None:
        super().__init__({"": ["Unknown query parameter"]})


class MalformedJson(ApiError):
    """The body is not one JSON document as RFC 8259 and I-JSON want it."""

    def __init__(self, reason: str = "The body is not valid JSON") -> None:
        super().__init__("MALFORMED_JSON", reason, 400)


class PayloadTooLarge(ApiError):
    """The body is larger than the route takes."""

    def __init__(self) -> None:
        super().__init__("PAYLOAD_TOO_LARGE", "The body is too large", 413)


class UnsupportedMediaType(ApiError):
    """A body that is not declared as JSON, or that is encoded."""

    def __init__(self, message: str = "Send application/json") -> None:
        super().__init__("UNSUPPORTED_MEDIA_TYPE", message, 415)


class RequestTimeout(ApiError):
    """The body did not arrive in time."""

    def __init__(self) -> None:
        super().__init__("REQUEST_TIMEOUT", "The body did not arrive in time", 408)


class NotFound(ApiError):
    """Nothing is there, or nothing that the caller may know of."""

    def __init__(self, message: str = "Not found") -> None:
        super().__init__("NOT_FOUND", message, 404)


class MethodNotAllowed(ApiError):
    """The path exists; the verb does not."""

    def __init__(self, allow: str = "") -> None:
        headers = {"Allow": allow} if allow else {}
        super().__init__("METHOD_NOT_ALLOWED", "Method not allowed", 405, headers=headers)


class Unauthenticated(ApiError):
    """No credential, or one that is not worth anything (any more)."""

    def __init__(
        self, message: str = "Authentication is required", code: str = "UNAUTHENTICATED"
    ) -> None:
        super().__init__(code, message, 401, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(ApiError):
    """The caller is known and may not do this."""

    def __init__(
        self, message: str = "You may not do this", code: str = "FORBIDDEN", **details: Any
    ) -> None:
        super().__init__(code, message, 403, details or None)


class Throttled(ApiError):
    """Too many requests in too short a time; `retry_after` is in seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "THROTTLED", "Too many requests", 429, headers={"Retry-After": str(max(1, retry_after))}
        )


class Unavailable(ApiError):
    """A part we depend on does not answer; nothing was done, trying again may help."""

    def __init__(self, message: str = "Try again shortly", retry_after: int = 1) -> None:
        super().__init__("UNAVAILABLE", message, 503, headers={"Retry-After": str(retry_after)})


class InternalError(ApiError):
    """A fault of ours. Its text says nothing; the log, found by the ids, says all."""

    def __init__(self) -> None:
        super().__init__("INTERNAL", "Something went wrong on our side", 500)
