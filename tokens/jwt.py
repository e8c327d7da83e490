"""The one module that makes and reads JSON Web Tokens.

ES256 only, from a ring of keys: the first signs, all verify. simplejwt's backend
sets no `kid`, holds one key and accepts a token without `exp`, so it is
subclassed here and nowhere else.
"""

import base64
import re
import threading
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from jwt.algorithms import ECAlgorithm
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenBackendExpiredToken

from config.contract.errors import Unauthenticated
from config.contract.ids import new_id

ALGORITHM = "ES256"
TYPE = "at+jwt"
_KID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADER_KEYS = frozenset({"alg", "typ", "kid"})
_LONGEST_TOKEN = 4096
_LEEWAY_SECONDS = 5


class Claims(msgspec.Struct, frozen=True):
    """What every token says: all of it, each of its own type."""

    iss: str
    aud: str
    sub: str
    org: str
    scopes: list[str]
    domain: str
    fam: str
    jti: str
    iat: int
    nbf: int
    exp: int


class KeyRing:
    """Signing keys by `kid`, in the order of the setting."""

    def __init__(self, setting: str) -> None:
        self.private: dict[str, EllipticCurvePrivateKey] = {}
        for entry in filter(None, (part.strip() for part in setting.split(","))):
            kid, _, encoded = entry.partition(":")
            if not _KID.fullmatch(kid) or kid in self.private:
                # Two keys of one name: half of what they sign would not verify.
                raise ImproperlyConfigured("TOKEN_SIGNING_KEYS needs a different kid for each key")
            try:
                der = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
                key = load_der_private_key(der, password=None)
            except ValueError:
                raise ImproperlyConfigured(
                    "TOKEN_SIGNING_KEYS holds something that is not kid:base64url(PKCS8 DER)"
                ) from None
            if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
                raise ImproperlyConfigured("TOKEN_SIGNING_KEYS must be P-256 keys")
            self.private[kid] = key
        if not self.private:
            raise ImproperlyConfigured("TOKEN_SIGNING_KEYS is empty")
        self.signing_kid = next(iter(self.private))
        self.public = {kid: key.public_key() for kid, key in self.private.items()}


class Backend(TokenBackend):
    """simplejwt's backend with a key ring, a `kid`, and every claim required."""

    def __init__(self, ring: KeyRing, *, audience: str) -> None:
        super().__init__(
            ALGORITHM, issuer=settings.TOKEN_ISSUER, audience=audience, leeway=_LEEWAY_SECONDS
        )
        self.ring = ring

    def encode(self, payload: dict[str, Any]) -> str:
        """Sign a complete set of claims with the first key of the ring."""
        kid = self.ring.signing_kid
        return jwt.encode(
            payload,
            self.ring.private[kid],
            algorithm=ALGORITHM,
            headers={"kid": kid, "typ": TYPE},
        )

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        """Return the claims of a token that is ours and alive.

        Raises TokenBackendExpiredToken, or TokenBackendError for anything else.
        """
        try:
            header = jwt.get_unverified_header(token)
            # `jku`, `x5u`, `jwk`, `crit`: a header that asks us to look elsewhere is refused.
            if (
                header.get("alg") != ALGORITHM
                or header.get("typ") != TYPE
                or not _HEADER_KEYS.issuperset(header)
            ):
                raise TokenBackendError("Token is invalid")
            key = self.ring.public.get(header.get("kid", ""))
            if key is None:
                raise TokenBackendError("Token is invalid")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self.audience,
                issuer=self.issuer,
                leeway=self.get_leeway(),
                options={"require": list(Claims.__struct_fields__)},
            )
            read = msgspec.convert(claims, Claims)
        except jwt.ExpiredSignatureError:
            raise TokenBackendExpiredToken("Token is expired") from None
        except (jwt.InvalidTokenError, msgspec.ValidationError, ValueError, TypeError):
            raise TokenBackendError("Token is invalid") from None
        if not 0 < read.exp - read.iat <= settings.ACCESS_TOKEN_LIFE.total_seconds():
            raise TokenBackendError("Token is invalid")
        return claims


_backends: dict[str, Backend] = {}
_lock = threading.Lock()


def backend(audience: str) -> Backend:
    """Return the backend for an audience: organisations' tokens or staff's, never both."""
    if audience not in _backends:
        with _lock:
            ring = KeyRing(settings.TOKEN_SIGNING_KEYS)
            _backends.setdefault(audience, Backend(ring, audience=audience))
    return _backends[audience]


def forget_keys() -> None:
    """Read TOKEN_SIGNING_KEYS again, as a restart would (tests)."""
    _backends.clear()
    _verified.cache_clear()


def public_keys() -> dict[str, Any]:
    """Return the ring's verification keys as a JSON Web Key Set."""
    ring = backend(settings.TOKEN_AUDIENCE).ring
    return {
        "keys": [
            {
                **ECAlgorithm.to_jwk(key, as_dict=True),
                "kid": kid,
                "alg": ALGORITHM,
                "use": "sig",
            }
            for kid, key in ring.public.items()
        ]
    }


def mint(
    *,
    subject: str,
    org: str,
    scopes: list[str],
    domain: str,
    family_id: str,
    audience: str,
    now: datetime,
) -> str:
    """Return a signed access token that lives `ACCESS_TOKEN_LIFE` from `now` (real time)."""
    issued = int(now.timestamp())
    return backend(audience).encode(
        {
            "iss": settings.TOKEN_ISSUER,
            "aud": audience,
            "sub": subject,
            "org": org,
            "scopes": scopes,
            "domain": domain,
            "fam": family_id,
            "jti": new_id("jti"),
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(settings.ACCESS_TOKEN_LIFE.total_seconds()),
        }
    )


def claimed_audience(token: str) -> str | None:
    """Return whom a token says it is for. Unverified: it only chooses who verifies it."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.InvalidTokenError:
        return None
    audience = claims.get("aud")
    return audience if isinstance(audience, str) else None


def read(token: str, *, audience: str, now: datetime) -> Mapping[str, Any]:
    """Return the claims of a valid token.

    Raises Unauthenticated, with the code TOKEN_EXPIRED where it was ours and is over.
    """
    if len(token) > _LONGEST_TOKEN:
        raise Unauthenticated("The token is not valid")
    try:
        claims = _verified(token, audience)
    except TokenBackendExpiredToken:
        raise _expired() from None
    except TokenBackendError:
        raise Unauthenticated("The token is not valid") from None
    # Verified once is verified for ever, but not alive for ever.
    if now.timestamp() >= claims["exp"] + _LEEWAY_SECONDS:
        raise _expired()
    return claims


def _expired() -> Unauthenticated:
    return Unauthenticated("The token has expired", code="TOKEN_EXPIRED")


@lru_cache(maxsize=4096)
def _verified(token: str, audience: str) -> Mapping[str, Any]:
    # A signature costs more than all else the check route does; a client sends
    # the same token for ten minutes. What raises is not remembered: a flood of
    # bad tokens drives no good one out, and one that a faster clock dated a few
    # seconds ahead is asked about again.
    return backend(audience).decode(token)
