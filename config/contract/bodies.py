"""From the bytes of a request to a typed body, or to the 4xx that says why not."""

import re
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from django.http import HttpRequest
from rest_framework.request import Request

from config.contract import strictjson
from config.contract.errors import (
    ApiError,
    MalformedJson,
    PayloadTooLarge,
    UnknownParameter,
    UnsupportedMediaType,
    ValidationFailed,
)

BODY_CAP = 64 * 1024
_AT_PATH = re.compile(r"^(?P<text>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?!24)\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
)

#: The instants we take. Periods, their neighbours and the sandbox's clock reach years past an
#: instant, and Python's calendar ends with the year 9999: whoever means "for ever" leaves it out.
FIRST, END = datetime(1900, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
OUTSIDE_CALENDAR = "Expected an instant of the years 1900 to 2999"

T = TypeVar("T")
Q = TypeVar("Q", bound=msgspec.Struct)


class Body(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A request body: strict types, no unknown fields, camelCase on the wire."""


class Answer(msgspec.Struct, rename="camel", omit_defaults=True):
    """The data of a success answer: camelCase on the wire, fields at their default left out."""


def read_json(request: Request | HttpRequest, *, cap: int = BODY_CAP) -> Any:
    """Return the parsed JSON of a request.

    Raises UnsupportedMediaType, PayloadTooLarge or MalformedJson; reads nothing
    of a body whose declared length is over `cap` bytes.
    """
    content_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise UnsupportedMediaType
    return strictjson.loads(read_raw(request, cap=cap))


def read_raw(request: Request | HttpRequest, *, cap: int) -> bytes:
    """Return the raw body.

    Raises UnsupportedMediaType where it is encoded (a few bytes of gzip may stand for
    any number of others), PayloadTooLarge beyond `cap` bytes, MalformedJson where its
    length is no number.
    """
    encoding = request.META.get("HTTP_CONTENT_ENCODING", "").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType("Send the body without a content encoding")
    try:
        declared = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        # Django would fail on it too, and not as kindly.
        raise MalformedJson from None
    if declared > cap:
        raise PayloadTooLarge
    raw: bytes = request.body
    if len(raw) > cap:
        raise PayloadTooLarge
    return raw


def parse(shape: type[T], request: Request | HttpRequest, *, cap: int = BODY_CAP) -> T:
    """Return the request's body as `shape`. Raises ValidationFailed naming every bad field."""
    return shaped(shape, read_json(request, cap=cap))


def shaped(shape: type[T], document: Any) -> T:
    """Convert a parsed document to `shape`. Raises ValidationFailed naming every bad field."""
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise ValidationFailed(_all_faults(shape, document, error)) from None


def parse_query(shape: type[Q], request: Request) -> Q:
    """Return the query string as `shape` (values are text and are read leniently as such).

    Raises ValidationFailed for a parameter that is unknown, repeated or malformed.
    """
    known = {field.encode_name for field in msgspec.structs.fields(shape)}
    document: dict[str, str] = {}
    for name, values in request.query_params.lists():
        if name not in known:
            raise UnknownParameter
        if len(values) != 1:
            raise ValidationFailed({name: ["Give it once"]})
        if "\x00" in values[0]:
            raise ValidationFailed({name: ["Holds a character that no text may hold"]})
        document[name] = values[0]
    try:
        return msgspec.convert(document, shape, strict=False)
    except msgspec.ValidationError as error:
        raise ValidationFailed(_fault(error)) from None


def is_in_calendar(moment: datetime) -> bool:
    """Tell whether periods around an instant can be worked out (`FIRST` to before `END`)."""
    return FIRST <= moment < END


def instant(text: str, *, field: str) -> datetime:
    """Read an RFC 3339 instant with an offset, at most microseconds, as UTC.

    Raises ValidationFailed under the name `field`, also outside the calendar.
    """
    if _INSTANT.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        else:
            if is_in_calendar(moment):
                return moment
            raise ValidationFailed({field: [OUTSIDE_CALENDAR]})
    raise ValidationFailed(
        {field: ["Expected an RFC 3339 instant with an offset and at most microseconds"]}
    )


def rfc3339(moment: datetime) -> str:
    """Write an instant in UTC with `Z`, with microseconds only where it has some."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def fields_of(error: ApiError) -> dict[str, list[str]]:
    """Return the fields a ValidationFailed names."""
    return dict((error.details or {}).get("fields", {}))


def _all_faults(
    shape: type[Any], document: Any, first: msgspec.ValidationError
) -> dict[str, list[str]]:
    # msgspec stops at the first fault. Only here, where the request has failed
    # anyway, is each field tried alone, so that a client can mend all at once.
    if not isinstance(document, dict) or not issubclass(shape, msgspec.Struct):
        return _fault(first)
    found: dict[str, list[str]] = {}
    known = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for name in document:
        if name not in known:
            found[_echo_safe(name)] = ["Unknown field"]
    for name, field in known.items():
        if name not in document:
            if field.required:
                found[name] = ["This field is required"]
            continue
        try:
            msgspec.convert(document[name], field.type)
        except msgspec.ValidationError as error:
            for path, texts in _fault(error).items():
                found[f"{name}.{path}" if path else name] = texts
    return found or _fault(first)


def _fault(error: msgspec.ValidationError) -> dict[str, list[str]]:
    parts = _AT_PATH.match(str(error))
    text, path = (parts["text"], parts["path"] or "") if parts else (str(error), "")
    path = path.replace("[", ".").replace("]", "").strip(".")
    for pattern, said in ((_UNKNOWN, "Unknown field"), (_MISSING, "This field is required")):
        named = pattern.match(text)
        if named:
            name = _echo_safe(named["name"])
            return {f"{path}.{name}" if path else name: [said]}
    if text.startswith("Invalid"):
        # msgspec quotes the input of a bad enum value; the contract echoes none.
        text = "Not one of the values this field takes"
    return {path: [text]}


def _echo_safe(name: str) -> str:
    """A client's own field name, kept short and plain: errors echo no input."""
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name) else "?"
