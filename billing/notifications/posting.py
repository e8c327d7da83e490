"""One POST to a stranger's server, by which nobody can be harmed.

The connection goes to an address that was vetted (billing.notifications.destinations)
and to no other; redirects are not followed, the answer's body is not waited for,
and all of it together takes a bounded time. No proxy and no environment has a say.
"""

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from django.conf import settings

from billing.notifications.destinations import Destination, Refused, Unresolved, read, resolve

#: Seconds to connect to one address; NOTIFY_SECONDS is for all from then on.
_CONNECT_SECONDS = 3.0
#: How many of a name's addresses are tried: one may be of a family we have no route to.
_MOST_ADDRESSES = 3
_LONGEST_WAIT = 24 * 3600


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of it: an HTTP status, or a word for what kept it from being one.

    `retry_after` is in seconds, where the receiver asked for them.
    """

    status: int | None = None
    error: str = ""
    retry_after: int = 0

    @property
    def accepted(self) -> bool:
        """Tell whether the receiver took it."""
        return self.status is not None and 200 <= self.status < 300


def post(url: str, *, body: bytes, headers: Mapping[str, str]) -> Answered:
    """POST `body` to `url`; never raises for what the other side does."""
    try:
        destination = read(url)
        addresses = resolve(destination)
    except Refused:
        return Answered(error="address_refused")
    except Unresolved:
        return Answered(error="name_not_resolved")
    try:
        with _connected(destination, addresses) as connection:
            return _exchange(connection, destination, body, headers)
    except TimeoutError:
        return Answered(error="timed_out")
    except ssl.SSLError:
        return Answered(error="tls_failed")
    except ConnectionRefusedError:
        return Answered(error="connection_refused")
    except (OSError, http.client.HTTPException, ValueError):
        return Answered(error="connection_failed")


@contextlib.contextmanager
def _connected(
    destination: Destination, addresses: list[str]
) -> Iterator[http.client.HTTPConnection]:
    raw = _connect(addresses[:_MOST_ADDRESSES], destination.port)
    over = threading.Event()

    def hang_up() -> None:
        # A receiver that sends a byte now and then never times out by itself.
        over.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(held[-1], socket.SHUT_RDWR)

    held = [raw]
    connection = http.client.HTTPConnection(destination.host, destination.port)
    watch = threading.Timer(settings.NOTIFY_SECONDS, hang_up)
    watch.daemon = True
    watch.start()
    try:
        if destination.tls:
            wrapped = _tls().wrap_socket(
                raw, server_hostname=destination.host, do_handshake_on_connect=False
            )
            held.append(wrapped)
            wrapped.do_handshake()
        connection.sock = held[-1]
        yield connection
    except (OSError, http.client.HTTPException, ValueError):
        if over.is_set():
            raise TimeoutError from None
        raise
    finally:
        watch.cancel()
        connection.close()
        for one in held:
            one.close()


def _connect(addresses: list[str], port: int) -> socket.socket:
    failed: OSError = OSError("no address")
    for address in addresses:
        try:
            made = socket.create_connection((address, port), timeout=_CONNECT_SECONDS)
        except OSError as error:
            failed = error
        else:
            made.settimeout(settings.NOTIFY_SECONDS)
            return made
    raise failed


def _exchange(
    connection: http.client.HTTPConnection,
    destination: Destination,
    body: bytes,
    headers: Mapping[str, str],
) -> Answered:
    connection.putrequest("POST", destination.target, skip_host=True, skip_accept_encoding=True)
    sent = {
        "Host": destination.authority,
        "User-Agent": f"Metergate/{settings.SERVICE_VERSION}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    # http.client bounds the status line and the headers; the body is left where it is.
    answer = connection.getresponse()
    asked = answer.headers.get("Retry-After", "")
    waits = answer.status in (429, 503) and asked.isascii() and asked.isdigit() and len(asked) < 9
    return Answered(answer.status, retry_after=min(int(asked), _LONGEST_WAIT) if waits else 0)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
