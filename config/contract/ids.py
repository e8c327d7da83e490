"""Identifiers: UUIDv7 shown as a prefix and Crockford base32."""

import re
from collections.abc import Mapping
from typing import Any

from uuid_utils.compat import uuid7

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def base32(number: int, length: int) -> str:
    """Write `number` in Crockford's base32 with `length` characters."""
    characters = []
    for _ in range(length):
        characters.append(_CROCKFORD[number & 31])
        number >>= 5
    return "".join(reversed(characters))


def new_id(prefix: str) -> str:
    """Return a new id that sorts by its time of making, such as `org_01J…` (26 characters)."""
    return f"{prefix}_{base32(uuid7().int, 26)}"


def new_request_id() -> str:
    """Return an id for a request that brought none, or a malformed one."""
    return uuid7().hex


def is_well_formed(candidate: str | None) -> bool:
    """Tell whether a client's request or correlation id may be used as it is."""
    return candidate is not None and _WELL_FORMED.fullmatch(candidate) is not None


def call_ids(meta: Mapping[str, Any]) -> tuple[str, str]:
    """Return the request and the correlation id of a call, from its WSGI environment.

    One that is missing or malformed is made; the correlation id is then the request id.
    """
    candidate = meta.get("HTTP_X_REQUEST_ID")
    request_id = candidate if candidate and is_well_formed(candidate) else new_request_id()
    candidate = meta.get("HTTP_X_CORRELATION_ID")
    return request_id, candidate if candidate and is_well_formed(candidate) else request_id


def trace_id_of(traceparent: str | None) -> str | None:
    """Return the trace id of a W3C `traceparent` header, or None when it is not one."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return found[1] if found else None
