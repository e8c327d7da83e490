"""Where a webhook may go: to the open internet, over TLS, and nowhere near ourselves.

An owner names the URL, and we send from within the operator's network: without
these rules it could be made to call what only we can reach. A URL is read once
into its parts, and a name resolved once; what is checked is what is connected to.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import idna
from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~%]+")  # printable ASCII that a URL may hold
_LOOKS_NUMERIC = re.compile(r"[0-9.]+|0x[0-9a-f.x]+", re.IGNORECASE)
#: Only these are handed out on the open internet for single hosts (RFC 4291).
_GLOBAL_UNICAST_6 = ipaddress.ip_network("2000::/3")
#: Inside of what Python calls global: ways to smuggle another address in, and hosts of a cloud's.
_NEVER = tuple(
    ipaddress.ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # Azure's own host
        "2001::/23",  # protocol assignments, Teredo among them: it embeds an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: embeds an IPv4 address
        "3fff::/20",  # documentation
    )
)


class Refused(Exception):
    """A place that webhooks do not go to; `why` holds no part of the URL."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Unresolved(Exception):
    """The name could not be resolved (now)."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The parts of a URL that was found fit to be sent to, as far as its text can tell."""

    tls: bool
    host: str
    port: int
    target: str  # path and query

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


def read(url: str) -> Destination:
    """Read a URL into its parts. Raises Refused saying what is wrong with it.

    https on one of NOTIFY_PORTS; where NOTIFY_LOOPBACK is on, this machine over
    http and on any port too.
    """
    if not _PLAIN.fullmatch(url):
        raise Refused("Expected a URL of printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Refused("Not a URL") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise Refused("Must hold no user name or password")
    if parts.fragment or "#" in url:
        raise Refused("Must have no fragment")
    host = _host(parts)
    at_home = settings.NOTIFY_LOOPBACK and _is_home(host)
    if parts.scheme != "https" and not (parts.scheme == "http" and at_home):
        raise Refused("Expected an https URL")
    tls = parts.scheme == "https"
    port = (443 if tls else 80) if port is None else port
    if port not in settings.NOTIFY_PORTS and not at_home:
        raise Refused("The port is not one that webhooks are sent to")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(tls, host, port, target)


def resolve(destination: Destination) -> list[str]:
    """Resolve the name, once; returns the addresses to connect to, best first.

    Raises Refused where a single one of them is not on the open internet,
    Unresolved where there are none.
    """
    try:
        found = socket.getaddrinfo(
            destination.host, destination.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except (OSError, UnicodeError):
        raise Unresolved from None
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not addresses:
        raise Unresolved
    if not all(may_send_to(address) for address in addresses):
        raise Refused("The address is not on the open internet")
    return addresses


def may_send_to(text: str) -> bool:
    """Tell whether an IP address is one that webhooks may be sent to."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if settings.NOTIFY_LOOPBACK and address.is_loopback:
        return True
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if address.version == 6 and address not in _GLOBAL_UNICAST_6:
        return False
    return not any(address in network for network in _NEVER if network.version == address.version)


def _host(parts: SplitResult) -> str:
    named = (parts.hostname or "").rstrip(".")
    if not named:
        raise Refused("Expected a URL with a host")
    if ":" in named or _LOOKS_NUMERIC.fullmatch(named):
        # Also `127.1`, `0x7f.1` and `2130706433`, which a resolver takes for addresses.
        try:
            address = ipaddress.ip_address(named)
        except ValueError:
            raise Refused("Not an address") from None
        if not may_send_to(str(address)):
            raise Refused("The address is not on the open internet")
        return str(address)
    if "." not in named and not (settings.NOTIFY_LOOPBACK and named == "localhost"):
        raise Refused("Expected a host on the open internet")
    try:
        return idna.encode(named, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise Refused("Not a host name") from None


def _is_home(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
