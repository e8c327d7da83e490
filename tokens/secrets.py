"""Codes and refresh tokens: made here, hashed here, never stored in clear."""

import base64
import hashlib
import hmac
import secrets

from django.conf import settings

#: Prefixes by which the log filter knows a secret that slipped out.
CODE_PREFIX = "mgc_"
REFRESH_PREFIX = "mgr_"
OPERATOR_PREFIX = "mgo_"
LINK_PREFIX = "mgl_"
VISIT_PREFIX = "mgv_"
_BYTES = 20  # 160 bits: the contract asks for at least 128


def new_refresh_token() -> str:
    """Return a fresh refresh token."""
    return REFRESH_PREFIX + _text(secrets.token_bytes(_BYTES))


def new_code() -> str:
    """Return a fresh activation code."""
    return CODE_PREFIX + _text(secrets.token_bytes(_BYTES))


def derived_code(seed: str) -> str:
    """Return the activation code that belongs to `seed`.

    It can be shown again without having been stored: without the server's key a
    seed says nothing about its code.
    """
    return CODE_PREFIX + _text(_mac(b"activation-code", seed)[:_BYTES])


def new_operator_secret() -> str:
    """Return a fresh operator secret."""
    return OPERATOR_PREFIX + _text(secrets.token_bytes(_BYTES))


def new_link_token() -> str:
    """Return a fresh one-time token of a link to the usage page."""
    return LINK_PREFIX + _text(secrets.token_bytes(_BYTES))


def derived_link(seed: str) -> str:
    """Return the one-time token of a link that belongs to `seed`, as `derived_code` does."""
    return LINK_PREFIX + _text(_mac(b"one-time-link", seed)[:_BYTES])


def new_nonce() -> str:
    """Return what tells one browser from another before it has a session."""
    return secrets.token_urlsafe(_BYTES)


def visit_of(link_token: str, nonce: str) -> str:
    """Return the session secret that a browser gets for a link.

    Derived, so that a double click gets the same one without it ever being stored:
    it takes the link and the nonce of the browser that used it.
    """
    return VISIT_PREFIX + _text(_mac(b"portal-visit", f"{link_token}:{nonce}")[:_BYTES])


def form_token(secret: str) -> str:
    """Return what a form has to carry to be one that we gave to the holder of `secret`."""
    return _text(_mac(b"portal-form", secret)[:_BYTES])


def successor_of(family_id: str, token: str) -> str:
    """Return the refresh token that follows `token` in its family.

    Derived, so that a client which lost the answer, and tabs that refresh at once,
    get the same one without it ever being stored.
    """
    return REFRESH_PREFIX + _text(_mac(b"refresh-successor", f"{family_id}:{token}")[:_BYTES])


def derived_key(purpose: bytes, seed: str) -> bytes:
    """Return the 256 bits that belong to `seed` for one purpose, and can be had again."""
    return _mac(purpose, seed)


def hashed(secret: str) -> bytes:
    """Return what is stored of a secret: an HMAC, so that a stolen table is of no use."""
    return _mac(b"stored-secret", secret)


def _mac(purpose: bytes, text: str) -> bytes:
    key = settings.TOKEN_HASH_KEY.encode()
    return hmac.new(key, purpose + b"\x00" + text.encode(), hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").lower().rstrip("=")
