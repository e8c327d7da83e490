"""One JSON object a line, whatever a client managed to have written into it.

The API refuses text that no text may hold. A log is another matter: its server has
answered the request already, and a user agent must not keep its own line from being
counted. So strings are taken as they are, and only what is read must be right.
"""

import json
import re
from typing import Any, NoReturn

from config.contract.errors import ApiError
from usage.importing.errors import Unreadable
from usage.importing.fields import FieldMap
from usage.importing.requests import (
    Request,
    any_time,
    method_and_path,
    path_of,
    rfc3339_time,
)

_STATUS = re.compile(r"[1-9][0-9][0-9]")
_BYTES = re.compile(r"[0-9]{1,18}")
_NO_OBJECT = "not one valid JSON object"
# nginx without `escape=json`, and Apache, write \x22 where JSON has ".
_ESCAPE = re.compile(r'((?:\\\\)+|\\["/bfnrt]|\\u[0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|\\')
_READ = ("time", "method", "path", "request", "status", "bytes", "value", "units")


class _Repeated:
    """Stands for a key that an object holds more than once."""


_REPEATED = _Repeated()


def read_json(raw: bytes, fields: FieldMap | None, *, ended: bool) -> Request:
    """Return the request of a line. Raises Unreadable with the reason."""
    document = _document(raw.decode("utf-8", "surrogateescape"), fields, ended=ended)
    if fields is None:
        return _standard(document)
    method, path = _method_and_path(fields, document)
    status = _status(fields.of("status", document))
    units = dict(document)
    for name in ("value", "units"):
        if name in fields.names:
            units[name] = fields.of(name, document)
    units["bytes"] = _bytes(fields.of("bytes", document))
    return Request(any_time(_known(fields.of("time", document))), method, path, status, units)


def _standard(document: dict[str, Any]) -> Request:
    time, method, path = (_text(name, document.get(name)) for name in ("time", "method", "path"))
    status = _status(document.get("status"))
    return Request(rfc3339_time(time), method.upper(), path_of(path), status, document)


def _method_and_path(fields: FieldMap, document: dict[str, Any]) -> tuple[str, str]:
    method, path, request = (
        _known(fields.of(name, document)) for name in ("method", "path", "request")
    )
    if isinstance(request, str) and not (method and path):
        return method_and_path(request)
    return _text("method", method).upper(), path_of(_text("path", path))


def _known(value: Any) -> Any:
    if value is _REPEATED:
        raise Unreadable(f"{_NO_OBJECT}: a field that is read occurs twice")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(_known(value), str):
        raise Unreadable(f"{name} is missing or not text")
    return str(value)


def _status(value: Any) -> int:
    if isinstance(_known(value), bool) or not _STATUS.fullmatch(str(value)[:4]):
        raise Unreadable("status is missing or not 100 to 999")
    return int(value)


def _bytes(value: Any) -> Any:
    # Some servers quote their numbers, or write "-" for none.
    if value in (None, "-", ""):
        return 0
    return int(value) if isinstance(value, str) and _BYTES.fullmatch(value) else value


def _document(text: str, fields: FieldMap | None, *, ended: bool) -> dict[str, Any]:
    try:
        document = _decode(text)
    except json.JSONDecodeError as error:
        # Something after the object is no client's field.
        if error.msg == "Extra data":
            raise Unreadable(_NO_OBJECT) from None
        document = _mended(text, fields, ended=ended)
    except (ValueError, ApiError):
        raise Unreadable(_NO_OBJECT) from None
    except RecursionError:
        document = _scanned(text, fields, ended=ended)
    if not isinstance(document, dict):
        raise Unreadable(_NO_OBJECT)
    return document


def _decode(text: str) -> Any:
    return _DECODER.decode(text)


def _mended(text: str, fields: FieldMap | None, *, ended: bool) -> Any:
    try:
        return _decode(_ESCAPE.sub(_valid_escape, text))
    except (ValueError, RecursionError):
        return _scanned(text, fields, ended=ended)


def _valid_escape(escape: re.Match[str]) -> str:
    if escape[1]:
        return escape[0]
    return f"\\u00{escape[2]}" if escape[2] else "\\\\"


def _scanned(text: str, fields: FieldMap | None, *, ended: bool) -> dict[str, Any]:
    # A quote that the server did not escape: what it wrote itself stands beside the
    # broken string. What occurs twice may have been written by the client: not taken.
    if not ended or not text.rstrip().endswith("}"):
        raise Unreadable(_NO_OBJECT)
    document: dict[str, Any] = {}
    for name in _READ:
        for path in fields.names.get(name, (name,)) if fields else (name,):
            leaf = re.escape(path.rpartition(".")[2])
            pattern = rf'[{{,]\s*"{leaf}"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)\s*(?=[,}}])'
            values = re.findall(pattern, text)
            if len(values) > 1:
                document[path] = _REPEATED
            elif values:
                try:
                    document[path] = _decode(_ESCAPE.sub(_valid_escape, values[0]))
                except ValueError:
                    raise Unreadable(_NO_OBJECT) from None
    if not document:
        raise Unreadable(_NO_OBJECT)
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                built[name] = _REPEATED
            seen.add(name)
    return built


def _constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, strict=False)
