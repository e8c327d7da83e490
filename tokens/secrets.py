"""Codes and refresh tokens: made here, hashed here, never stored in clear."""

import base64
import hashlib
import hmac
import secrets

from django.conf import settings

#: Prefixes by which the log filter knows a secret that slipped out.
CODE_PREFIX = "mgc_"
REFRESH_PREFIX = "mgr_"
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


def hashed(secret: str) -> bytes:
    """Return what is stored of a secret: an HMAC, so that a stolen table is of no use."""
    return _mac(b"stored-secret", secret)


def _mac(purpose: bytes, text: str) -> bytes:
    key = settings.TOKEN_HASH_KEY.encode()
    return hmac.new(key, purpose + b"\x00" + text.encode(), hashlib.sha256).digest()


def _text(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").lower().rstrip("=")
