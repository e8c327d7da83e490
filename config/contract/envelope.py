"""The one shape of every answer under /api."""

from collections.abc import Mapping
from typing import Any

from config.contract.errors import ApiError


def wrap_success(data: Any, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the success envelope.

    It never carries a request id: a replay must answer byte for byte the same.
    """
    body: dict[str, Any] = {"ok": True, "data": data}
    if meta is not None:
        body["meta"] = dict(meta)
    return body


def wrap_error(error: ApiError, *, request_id: str, correlation_id: str) -> dict[str, Any]:
    """Return the error envelope for `error`, with the ids support will ask for."""
    described: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.details is not None:
        described["details"] = error.details
    body: dict[str, Any] = {"ok": False}
    if error.data is not None:
        body["data"] = error.data
    body["error"] = described
    body["meta"] = {"requestId": request_id, "correlationId": correlation_id}
    return body
