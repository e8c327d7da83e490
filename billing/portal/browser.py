"""What a browser has to show: the cookie of its visit, and in each form our token.

The forms have a token of their own rather than Django's: under `no-referrer`
browsers send `Origin: null` with a form, and Django's check refuses that. Ours is
derived from a secret in an HttpOnly cookie, so another site can neither read nor
plant it; browsers that say where a request comes from are believed too.
"""

import re
from datetime import timedelta
from hmac import compare_digest

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError

from config.contract.errors import Forbidden
from tokens import secrets

#: Holds the visit. Sent along when a link leads back here from Stripe's pages.
VISIT = "metergate_visit"
#: Tells browsers apart on the page that opens a link; sent by that page alone.
NONCE = "metergate_opening"
FORM_TOKEN = "form_token"  # noqa: S105 - a field's name
_NONCE = re.compile(r"[\w-]{20,40}")


class FormRefused(Forbidden):
    """A form that we did not give to this browser."""

    def __init__(self) -> None:
        super().__init__(
            "This form did not come from this page. Go back, reload, try again;"
            " cookies have to be allowed."
        )


def cookie(request: HttpRequest, name: str) -> str:
    """Return what the browser holds under one of our names; empty where nothing."""
    found: str = request.COOKIES.get(_full(name), "")
    return found


def nonce_of(request: HttpRequest) -> str:
    """Return the browser's nonce, where it has one of the right form."""
    found = cookie(request, NONCE)
    return found if _NONCE.fullmatch(found) else ""


def keep(response: HttpResponse, name: str, value: str, *, age: timedelta, strict: bool) -> None:
    """Let the browser hold a value: not for scripts, not for other sites."""
    response.set_cookie(
        _full(name),
        value,
        max_age=age,
        path="/",
        secure=settings.PORTAL_COOKIES_SECURE,
        httponly=True,
        samesite="Strict" if strict else "Lax",
    )


def forget(response: HttpResponse, name: str) -> None:
    """Take a value back."""
    keep(response, name, "", age=timedelta(0), strict=False)


def check_form(request: HttpRequest, secret: str) -> None:
    """Let a form through that was given to the holder of `secret`. Raises FormRefused."""
    try:
        given = request.POST.get(FORM_TOKEN, "")
    except (BadRequest, MultiPartParserError):
        # Not in UTF-8, or parts that are none: no form of ours.
        raise FormRefused from None
    if not secret or not compare_digest(given.encode(), secrets.form_token(secret).encode()):
        raise FormRefused
    # Fetch metadata; older browsers, and plain http beyond loopback, do not send it.
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise FormRefused


def _full(name: str) -> str:
    return f"__Host-{name}" if settings.PORTAL_COOKIES_SECURE else name
