"""From a request's head to a WSGI environment, or to the refusal that says why not."""

import sys
from io import BytesIO
from typing import Any

from config.contract.errors import ValidationFailed

Environ = dict[str, Any]

#: Given twice, one part of the way would believe the first and another the second.
_ONCE = frozenset(
    {
        "host",
        "authorization",
        "content-type",
        "content-length",
        "content-encoding",
        "origin",
        "idempotency-key",
        "x-client-domain",
        "x-csrftoken",
        "x-forwarded-proto",
    }
)
_ALWAYS: Environ = {
    "GATEWAY_INTERFACE": "CGI/1.1",
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "Metergate",
    "wsgi.errors": sys.stderr,
    "wsgi.multiprocess": True,
    "wsgi.multithread": True,
    "wsgi.run_once": False,
    "wsgi.version": (1, 0),
}
_VARIABLES: dict[str, str] = {
    "content-type": "CONTENT_TYPE",
    "content-length": "CONTENT_LENGTH",
    # What it says is undone here: the body is handed on whole, with its length.
    "transfer-encoding": "",
}
#: Names seen before, so that the usual ones are not spelt anew for each request.
_MOST_NAMES = 512


def environ_of(scope: Any, *, once: frozenset[str] = frozenset()) -> Environ:
    """Return the environment of a request whose body is not there yet.

    Names with an underscore are dropped: WSGI could not tell them from those with
    a hyphen, and a client could overwrite what a proxy wrote. Raises
    ValidationFailed for a header that may be given once and is not (`once` names more).
    """
    address, _, _ = scope.client.rpartition(":")
    host, _, port = scope.server.rpartition(":")
    environ: Environ = {
        **_ALWAYS,
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": host.strip("[]"),
        "SERVER_PORT": port,
        "REMOTE_ADDR": address.strip("[]"),
        # Without one there is none: nothing of ours stands in for a name that a client must say.
        "HTTP_HOST": "",
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(),
    }
    given: set[str] = set()
    for name, value in scope.headers.items():
        variable = _VARIABLES.get(name)
        if variable is None:
            variable = _variable_of(name)
        if not variable:
            continue
        if name in given:
            if name in _ONCE or name in once:
                raise ValidationFailed({"": [f"Give the header {name} once"]})
            environ[variable] += (";" if name == "cookie" else ",") + value
        else:
            given.add(name)
            environ[variable] = value
    if "host" not in given and scope.authority:
        environ["HTTP_HOST"] = scope.authority
    return environ


def _variable_of(name: str) -> str:
    variable = "" if "_" in name else "HTTP_" + name.upper().replace("-", "_")
    if len(_VARIABLES) < _MOST_NAMES:
        _VARIABLES[name] = variable
    return variable
