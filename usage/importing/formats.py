"""What a line says: Common and Combined Log Format, one JSON object, or a preset's text."""

import re

from usage.importing.errors import Unreadable
from usage.importing.fields import FieldMap
from usage.importing.jsonlines import read_json
from usage.importing.logfile import MAX_LINE, Line
from usage.importing.requests import (
    COMMON_TIME,
    Request,
    common_time,
    method_and_path,
    path_of,
    rfc3339_time,
)

__all__ = ["Parser", "Request", "path_of"]

_QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
# The host, the user and whatever else stands before the time may be anything. Servers
# escape quotes, so the first time that is followed by a quote is theirs.
_TIME = re.compile(rb"\[(" + COMMON_TIME.encode() + rb')\] (?=")')
_ANY_TIME = re.compile(rb'\[([^\[\]]{0,64})\] (?=")')
_END = rb" (?P<status>[1-9][0-9][0-9]) (?P<bytes>[0-9]{1,18}|-)(?= |$)"
_ESCAPED = re.compile(rb"(?P<request>" + _QUOTED + rb")" + _END)
# For servers that do not escape: up to the version, or else to the first status and bytes.
_UNESCAPED = (
    re.compile(rb' HTTP/[0-9](?:\.[0-9])?"' + _END),
    re.compile(rb'"' + _END),
)
_WHOLE_COMBINED = re.compile(rb" " + _QUOTED + rb" " + _QUOTED + rb"(?: .*)?", re.S)
_BEFORE = b"\xef\xbb\xbf\0 \t"
_NO_FORMAT = "neither Common or Combined Log Format nor JSON"
_CUT = "the last line is not whole: it has no line end"


class Parser:
    """Reads the lines of one log, in their order."""

    def __init__(self, fields: FieldMap | None = None) -> None:
        self._fields = fields
        self._has_tails = False

    def parse(self, line: Line) -> Request:
        """Return the request of a line. Raises Unreadable with the reason."""
        if not line.fits:
            raise Unreadable(f"longer than {MAX_LINE} bytes")
        # A byte order mark, or the hole that a log has after it was truncated by others.
        raw = line.raw.lstrip(_BEFORE) if line.raw[:1] in _STARTS else line.raw
        if raw.startswith(b"{"):
            return read_json(raw, self._fields, ended=line.ended)
        if self._fields is not None and self._fields.text is not None:
            return self._text(line, raw, self._fields.text)
        return self._access(line, raw)

    def _access(self, line: Line, raw: bytes) -> Request:
        time = _TIME.search(raw) or _ANY_TIME.search(raw)
        request = None if time is None else _request(raw, time.end())
        if time is None or request is None:
            raise Unreadable(_NO_FORMAT if line.ended else _CUT)
        request_line, end = request
        self._refuse_cut(line, raw[end.end() :])
        method, path = method_and_path(_decoded(request_line))
        return Request(common_time(_decoded(time[1])), method, path, int(end["status"]), _size(end))

    def _text(self, line: Line, raw: bytes, pattern: re.Pattern[bytes]) -> Request:
        parts = pattern.match(raw)
        if parts is None:
            raise Unreadable("not a line of the preset's format" if line.ended else _CUT)
        if not line.ended:
            raise Unreadable(_CUT)
        method, path = method_and_path(_decoded(parts["request"][1:-1]))
        at = rfc3339_time(_decoded(parts["time"]))
        return Request(at, method, path, int(parts["status"]), _size(parts))

    def _refuse_cut(self, line: Line, tail: bytes) -> None:
        # The server may be in the middle of writing the last line. Its beginning
        # can look like a whole line of the shorter format; counted now, it would be
        # counted again when it is whole. A line that did end is taken as it is:
        # real logs hold broken user agents, and nothing is read from there.
        if line.ended:
            self._has_tails = self._has_tails or bool(tail)
            return
        is_whole = _WHOLE_COMBINED.fullmatch(tail) if tail else not self._has_tails
        if not is_whole:
            raise Unreadable(_CUT)


_STARTS = frozenset(bytes([byte]) for byte in _BEFORE)


def _request(raw: bytes, start: int) -> tuple[bytes, re.Match[bytes]] | None:
    escaped = _ESCAPED.match(raw, start)
    if escaped is not None:
        return escaped["request"][1:-1], escaped
    for pattern in _UNESCAPED:
        end = pattern.search(raw, start + 1)
        if end is not None:
            quote = end.start("status") - len(b'" ')
            return raw[start + 1 : quote], end
    return None


def _size(parts: re.Match[bytes]) -> dict[str, int]:
    return {"bytes": 0 if parts["bytes"] == b"-" else int(parts["bytes"])}


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
