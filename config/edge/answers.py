"""From what the application returned, or a refusal, to the wire."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from django.conf import settings

from config.contract.envelope import wrap_error
from config.contract.errors import ApiError
from config.contract.ids import call_ids
from config.contract.responses import JSON
from config.edge.environ import Environ

Headers = list[tuple[str, str]]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_HEALTHY = msgspec.json.encode({"ok": True})
_CLOSE = ("Connection", "close")
#: What the application's middleware adds to its own; these answers load nothing.
_FOR_BROWSERS: Headers = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"),
    ("Referrer-Policy", "same-origin"),
]
_LARGEST_READ = 1024 * 1024


class FileAnswer:
    """What the application returns for a file: granian sends it from the disk by itself.

    No thread waits for a slow reader, and the file is never in memory as a whole.
    """

    def __init__(self, file: Any, _block_size: int = 0) -> None:
        self.file = file

    def path(self) -> str | None:
        """Return where the file lies, if it is to be sent from its first byte to its last."""
        name = getattr(self.file, "name", None)
        plain = isinstance(self.file, io.BufferedReader) and isinstance(name, str)
        return name if plain and self.file.tell() == 0 else None

    def __iter__(self) -> Iterable[bytes]:  # pragma: no cover - for who wraps the application
        return iter(lambda: self.file.read(_LARGEST_READ), b"")

    def close(self) -> None:
        """Close the file."""
        if hasattr(self.file, "close"):
            self.file.close()


def answer(application: Application, environ: Environ, proto: Any, *, closes: bool) -> int:
    """Run the application and send what it answers; `closes` says that the connection will.

    Returns the bytes of the body, none for a file.
    """
    started: list[Any] = []

    def start_response(status: str, headers: Headers, exc_info: Any = None) -> None:
        started[:] = (int(status[:3]), [*headers, _CLOSE] if closes else headers)

    environ["wsgi.file_wrapper"] = FileAnswer
    returned = application(environ, start_response)
    try:
        status, headers = started
        path = returned.path() if isinstance(returned, FileAnswer) else None
        if path is not None and environ["REQUEST_METHOD"] != "HEAD":
            proto.response_file(status, headers, path)
            return 0
        body = b"".join(returned)
        proto.response_bytes(status, headers, body)
        return len(body)
    finally:
        if hasattr(returned, "close"):
            returned.close()


def refuse(environ: Environ, proto: Any, error: ApiError, *, closes: bool) -> None:
    """Answer with an error before any application runs: in the envelope under /api."""
    request_id, correlation_id = call_ids(environ)
    headers = [
        *_for_browsers(environ.get("HTTP_X_FORWARDED_PROTO")),
        ("x-request-id", request_id),
        ("x-correlation-id", correlation_id),
        *error.headers.items(),
        *([_CLOSE] if closes else []),
    ]
    if environ["PATH_INFO"].startswith("/api/"):
        body = wrap_error(error, request_id=request_id, correlation_id=correlation_id)
        headers += [("Content-Type", JSON), ("Vary", "Origin"), ("Cache-Control", "no-store")]
        proto.response_bytes(error.status, headers, msgspec.json.encode(body))
    else:
        headers.append(("Content-Type", "text/plain; charset=utf-8"))
        proto.response_bytes(error.status, headers, f"{error.message}\n".encode())


def healthy(scope: Any, proto: Any) -> None:
    """Answer that the process answers."""
    given = {
        f"HTTP_{name.upper().replace('-', '_')}": scope.headers.get(name)
        for name in ("x-request-id", "x-correlation-id")
    }
    request_id, correlation_id = call_ids(given)
    headers = [
        *_for_browsers(scope.headers.get("x-forwarded-proto")),
        ("Content-Type", JSON),
        ("x-request-id", request_id),
        ("x-correlation-id", correlation_id),
    ]
    proto.response_bytes(200, headers, _HEALTHY)


def _for_browsers(forwarded_proto: str | None) -> Headers:
    """Return the headers that no answer lacks, and HSTS where our own proxy says https."""
    if not settings.SECURE_HSTS_SECONDS or not settings.SECURE_PROXY_SSL_HEADER:
        return _FOR_BROWSERS
    if forwarded_proto != "https":
        return _FOR_BROWSERS
    hsts = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains; preload"
    return [*_FOR_BROWSERS, ("Strict-Transport-Security", hsts)]
