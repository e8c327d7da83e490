"""Domain binding: the tokens of a code bound to a domain work only there.

It keeps a token that leaked out of a page from being used by another page. It
does not stop a program that forges the header; nothing in a request can.
"""

from functools import lru_cache

import idna
from django.http import HttpRequest

from config.contract.errors import Forbidden

#: Characters of a host name, the dot of the root included.
_LONGEST = 254


@lru_cache(maxsize=4096)
def normalised(domain: str) -> str | None:
    """Return a host name as it is compared: IDNA, lower case, no port, no trailing dot.

    None for what is not a host name.
    """
    if len(domain) > _LONGEST:
        return None
    try:
        host = idna.encode(domain.strip(), uts46=True, std3_rules=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        return None
    # The dot of the root is taken off after the encoding, which writes other
    # scripts' dots as ours.
    return host.removesuffix(".")


def claimed(request: HttpRequest) -> str | None:
    """Return the normalised domain a request says it comes from.

    `Origin` first; `x-client-domain` only where there is none (clients that are
    not browsers). `Origin: null` is no domain.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        named = request.META.get("HTTP_X_CLIENT_DOMAIN")
        return normalised(_without_port(_as_sent(named))) if named else None
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
    return name if separator and port.isascii() and port.isdigit() else host


def _as_sent(header: str) -> str:
    # WSGI hands bytes over as Latin-1; a program that names `bücher.example` sends UTF-8.
    try:
        return header.encode("latin-1").decode()
    except UnicodeError:
        return header
