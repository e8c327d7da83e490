"""Domain binding: the tokens of a code bound to a domain work only there.

It keeps a token that leaked out of a page from being used by another page. It
does not stop a program that forges the header; nothing in a request can.
"""

import idna
from django.http import HttpRequest

from config.contract.errors import Forbidden


def normalised(domain: str) -> str | None:
    """Return a host name as it is compared: IDNA, lower case, no port, no trailing dot.

    None for what is not a host name.
    """
    host = domain.strip().lower()
    host = host.removesuffix(".")
    if not host or len(host) > 253:
        return None
    try:
        encoded = idna.encode(host, uts46=True, std3_rules=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return None
    return encoded.lower()


def claimed(request: HttpRequest) -> str | None:
    """Return the normalised domain a request says it comes from.

    `Origin` first; `x-client-domain` only where there is none (clients that are
    not browsers). `Origin: null` is no domain.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        named = request.META.get("HTTP_X_CLIENT_DOMAIN")
        return normalised(_without_port(named)) if named else None
    scheme, separator, rest = origin.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        return None
    if any(character in rest for character in "/?#@\\ \t"):
        return None
    return normalised(_without_port(rest))


def require(request: HttpRequest, domain: str) -> None:
    """Raise Forbidden unless the request comes from `domain`."""
    if claimed(request) != domain:
        raise Forbidden("The token is bound to another domain", code="DOMAIN_MISMATCH")


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdigit() else host
