"""What an import needs to know of one request, and how its parts are written in a log."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from config.contract.bodies import instant
from config.contract.errors import ApiError
from usage.importing.errors import Unreadable

_REQUEST = re.compile(r"(?P<method>[A-Za-z-]{1,32}) (?P<target>.+?)(?: HTTP/\d(?:\.\d)?)?", re.S)
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
# Not strptime: its month names are those of the operator's locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: The time of the Common Log Format, as a pattern that bytes and text can share.
COMMON_TIME = rf"[0-9]{{2}}/(?:{'|'.join(_MONTHS)})/[0-9]{{4}}(?::[0-9]{{2}}){{3}} [+-][0-9]{{4}}"
_COMMON_TIME = re.compile(
    rf"(\d\d)/({'|'.join(_MONTHS)})/(\d{{4}}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.A
)
_BEYOND_MICROSECONDS = re.compile(r"(\.[0-9]{6})[0-9]+")
_EPOCH = re.compile(r"[0-9]{9,19}(?:\.[0-9]{1,9})?")
#: Below each of these a number of the present age counts seconds, milli-, micro-, nanoseconds.
_SCALES = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9))
_AT_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


class Request(NamedTuple):
    """One request of a log. `fields` are where units may be read from."""

    at: datetime
    method: str
    path: str  # without query and host
    status: int
    fields: Mapping[str, Any]


def path_of(target: str) -> str:
    """Return the path of a request target: no scheme, no host, no query."""
    origin = _ORIGIN.match(target)
    path = target[origin.end() :] if origin else target
    return path.partition("?")[0].partition("#")[0] or "/"


def method_and_path(request_line: str) -> tuple[str, str]:
    """Return what a request line asks for; `-` twice where it is none.

    `-` after a time-out, or TLS on a plain port, was still served and logged.
    """
    parts = _REQUEST.fullmatch(request_line)
    return (parts["method"].upper(), path_of(parts["target"])) if parts else ("-", "-")


@lru_cache(maxsize=4096)
def common_time(text: str) -> datetime:
    """Read a time of the Common Log Format. Raises Unreadable."""
    parts = _COMMON_TIME.fullmatch(text)
    if parts and int(parts[9]) < 60:
        offset = timedelta(hours=int(parts[8]), minutes=int(parts[9]))
        try:
            return datetime(
                int(parts[3]), _MONTHS.index(parts[2]) + 1, int(parts[1]),
                int(parts[4]), int(parts[5]), int(parts[6]),
                tzinfo=timezone(-offset if parts[7] == "-" else offset),
            ).astimezone(UTC)  # fmt: skip
        except (ValueError, OverflowError):
            pass
    raise Unreadable("its time is not one of the Common Log Format")


def rfc3339_time(text: str) -> datetime:
    """Read an RFC 3339 instant with an offset; digits beyond microseconds are cut off.

    Raises Unreadable.
    """
    try:
        return instant(_BEYOND_MICROSECONDS.sub(r"\1", text[:64], count=1), field="time")
    except ApiError:
        raise Unreadable("time is not an RFC 3339 instant with an offset") from None


def any_time(value: Any) -> datetime:
    """Read a time as servers write it: RFC 3339, Common Log Format, or since 1970.

    A number is in seconds, milli-, micro- or nanoseconds, told apart by its size.
    Raises Unreadable.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = format(Decimal(str(value)), "f")
    if not isinstance(value, str):
        raise Unreadable("time is missing or not a time")
    if _EPOCH.fullmatch(value):
        number = Decimal(value)
        scale = next(scale for below, scale in _SCALES if number < below)
        return _AT_ZERO + timedelta(microseconds=int(number * 10**6 / scale))
    return common_time(value) if "/" in value[:64] else rfc3339_time(value)
