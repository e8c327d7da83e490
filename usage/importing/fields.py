"""Where a server's log keeps time, request, status and bytes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from usage.importing.errors import CannotImport

#: What may be mapped. `request` is a whole request line, in place of method and path.
KNOWN = ("time", "method", "path", "request", "status", "bytes", "value", "units")
_NAME = re.compile(r"[^\s=,]{1,100}")
_QUOTED = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
#: Application Load Balancer: type, time, balancer, client, target, three durations, both
#: statuses, bytes received and sent, request; then what the client wrote.
_ALB = re.compile(
    rb"\S+ (?P<time>\S+) \S+ \S+ \S+ \S+ \S+ \S+ (?P<status>[1-9][0-9][0-9]) \S+ \S+ "
    rb"(?P<bytes>[0-9]{1,18}|-) (?P<request>" + _QUOTED + rb")(?= |$)"
)
#: Envoy's default text; between the status and the bytes stand flags and bytes received.
_ENVOY = re.compile(
    rb"\[(?P<time>[^\]\s]+)\] (?P<request>" + _QUOTED + rb") (?P<status>[1-9][0-9][0-9])"
    rb' (?:(?:"[^"]*"|\S+) ){1,4}?[0-9]{1,18} (?P<bytes>[0-9]{1,18}) [0-9-]+(?= |$)'
)


@dataclass(frozen=True, slots=True)
class FieldMap:
    """The names a log uses for what an import reads.

    Of several names the first that a line has counts. A dot leads into an object.
    `text` reads the lines of a format that is not JSON.
    """

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    text: re.Pattern[bytes] | None = None

    def of(self, name: str, document: Mapping[str, Any]) -> Any:
        """Return what a line says of `name`; None where it says nothing."""
        for path in self.names.get(name, (name,)):
            value = _at(document, path)
            if value is not None:
                return value
        return None


def _at(document: Mapping[str, Any], path: str) -> Any:
    if path in document:
        return document[path]
    node: Any = document
    for name in path.split("."):
        if not isinstance(node, dict) or name not in node:
            return None
        node = node[name]
    return node


#: Names as each server's own documents give them.
PRESETS: Mapping[str, FieldMap] = MappingProxyType(
    {
        # Variables of ngx_http_log_module under their own names, or under the usual short ones.
        "nginx": FieldMap(
            {
                "time": ("time_iso8601", "msec", "time_local", "time", "timestamp"),
                "method": ("request_method", "method"),
                "path": ("request_uri", "uri", "path"),
                "request": ("request",),
                "status": ("status",),
                "bytes": ("body_bytes_sent", "bytes_sent", "bytes"),
            }
        ),
        "caddy": FieldMap(
            {
                "time": ("ts",),
                "method": ("request.method",),
                "path": ("request.uri",),
                "status": ("status",),
                "bytes": ("size",),
            }
        ),
        "traefik": FieldMap(
            {
                "time": ("StartUTC", "StartLocal", "time"),
                "method": ("RequestMethod",),
                "path": ("RequestPath",),
                "status": ("DownstreamStatus",),
                "bytes": ("DownstreamContentSize",),
            }
        ),
        "alb": FieldMap({}, _ALB),
        # The text it writes by default, or the names its JSON has in Istio and Envoy Gateway.
        "envoy": FieldMap(
            {
                "time": ("start_time", "timestamp"),
                "method": ("method",),
                "path": ("path", "x-envoy-origin-path"),
                "status": ("response_code",),
                "bytes": ("bytes_sent",),
            },
            _ENVOY,
        ),
        # Its log plugins (file-log, http-log, …) share one serializer.
        "kong": FieldMap(
            {
                "time": ("started_at",),
                "method": ("request.method",),
                "path": ("request.uri",),
                "status": ("response.status",),
                "bytes": ("response.size",),
            }
        ),
    }
)


def field_map(preset: str | None, fields: str | None) -> FieldMap | None:
    """Build the map the operator asked for; None where lines keep the standard names.

    `fields` is `time=ts,method=request.method`; it changes single names of a preset.
    Raises CannotImport naming what cannot be read.
    """
    if preset is None and fields is None:
        return None
    if preset is not None and preset not in PRESETS:
        raise CannotImport(f"There is no preset {preset}; there is: {', '.join(sorted(PRESETS))}")
    base = FieldMap() if preset is None else PRESETS[preset]
    names = dict(base.names)
    for part in (fields or "").split(",") if fields is not None else ():
        name, equals, path = part.strip().partition("=")
        if not equals or name not in KNOWN or not _NAME.fullmatch(path):
            raise CannotImport(
                f"--fields: {part.strip()!r} is not NAME=FIELD, where NAME is {', '.join(KNOWN)}"
            )
        names[name] = (path,)
        if name == "request":
            # One of the two says it; a preset's names must not contradict.
            names["method"] = names["path"] = ()
        elif name in ("method", "path"):
            names["request"] = ()
    return FieldMap(names, base.text)
