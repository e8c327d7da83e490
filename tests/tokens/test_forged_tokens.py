"""Tokens that somebody made up, over HTTP: each is 401, none is a fault."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.test import Client

from config.contract import clock
from tests.support.cast import Org, error
from tests.tokens.http import new_code
from tokens import operators
from tokens.jwt import backend

pytestmark = pytest.mark.django_db(transaction=True)

CLAIMS = ["iss", "aud", "sub", "org", "scopes", "domain", "fam", "jti", "iat", "nbf", "exp"]


def ours() -> tuple[str, ec.EllipticCurvePrivateKey]:
    ring = backend(settings.TOKEN_AUDIENCE).ring
    return ring.signing_kid, ring.private[ring.signing_kid]


def claims_of(org: Org, /, **change: Any) -> dict[str, Any]:
    """Return the claims of the organisation's token, with some of them changed."""
    real = jwt.decode(org.tokens.access_token, options={"verify_signature": False})
    return {**real, **change}


def signed(
    claims: Mapping[str, Any], *, key: Any = None, algorithm: str = "ES256", **header: Any
) -> str:
    """Sign claims; with our own key where no other is given."""
    kid, private = ours()
    return jwt.encode(
        dict(claims),
        private if key is None else key,
        algorithm=algorithm,
        headers={"kid": kid, "typ": "at+jwt", **header},
    )


def unsigned(claims: Mapping[str, Any], signature: str = "", **header: Any) -> str:
    """Put a token together by hand."""
    kid, _ = ours()
    parts = ({"alg": "ES256", "typ": "at+jwt", "kid": kid, **header}, claims)
    return ".".join([*(_encoded(json.dumps(part).encode()) for part in parts), signature])


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def answer_to(token: str) -> Any:
    """Show a token to a guarded route."""
    return Client(raise_request_exception=False).get(
        "/api/me/entitlements", headers={"Authorization": f"Bearer {token}"}
    )


def refused(token: str, code: str = "UNAUTHENTICATED") -> None:
    response = answer_to(token)
    assert response.status_code == 401, response.content
    assert error(response)["code"] == code
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert token.encode() not in response.content


def test_what_the_forger_has_to_match_is_let_in(org: Org) -> None:
    assert answer_to(signed(claims_of(org))).status_code == 200


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "null", None, 0, False, []])
def test_a_token_without_an_algorithm_is_refused_however_it_is_spelt(alg: Any, org: Org) -> None:
    _, _, signature = org.tokens.access_token.split(".")

    refused(unsigned(claims_of(org), alg=alg))
    refused(unsigned(claims_of(org), signature, alg=alg))


def _public(encoding: Encoding, form: PublicFormat) -> bytes:
    return ours()[1].public_key().public_bytes(encoding, form)


def _as_jwk() -> dict[str, Any]:
    return jwt.algorithms.ECAlgorithm.to_jwk(ours()[1].public_key(), as_dict=True)


#: Our public key as somebody may have written it down: each is a secret to HMAC.
PUBLIC_FORMS: dict[str, Callable[[], bytes]] = {
    "PEM": lambda: _public(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PEM without its last newline": lambda: _public(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ).rstrip(),
    "DER": lambda: _public(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "base64 of DER": lambda: base64.b64encode(
        _public(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ),
    "compressed point": lambda: _public(Encoding.X962, PublicFormat.CompressedPoint),
    "uncompressed point": lambda: _public(Encoding.X962, PublicFormat.UncompressedPoint),
    "JWK": lambda: json.dumps(_as_jwk()).encode(),
    "JWK without blanks": lambda: json.dumps(_as_jwk(), separators=(",", ":")).encode(),
    "JWK Set, as it is served": lambda: Client().get("/.well-known/jwks.json").content,
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
@pytest.mark.parametrize("form", PUBLIC_FORMS)
def test_a_token_signed_with_our_public_key_as_a_secret_is_refused(
    algorithm: str, form: str, org: Org
) -> None:
    head = unsigned(claims_of(org), alg=algorithm).rstrip(".")
    digest = getattr(hashlib, f"sha{algorithm[2:]}")

    # By hand: the library refuses to sign with what looks like a key of another kind.
    forged = f"{head}.{_encoded(hmac.new(PUBLIC_FORMS[form](), head.encode(), digest).digest())}"

    refused(forged)


def test_what_opens_another_door_is_no_access_token(org: Org) -> None:
    now = clock.real_now()
    key = operators.create(name="gateway", wanted=["usage:void"], who="test", now=now)

    refused(org.tokens.refresh_token)
    refused(new_code(org.id))
    refused(key.secret)
    refused(key.key_id)


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [(ec.SECP256R1(), "ES256"), (ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")],
    ids=["ES256", "ES384", "ES512"],
)
def test_a_token_signed_with_another_key_is_refused(
    curve: ec.EllipticCurve, algorithm: str, org: Org
) -> None:
    stolen = ec.generate_private_key(curve)

    refused(signed(claims_of(org), key=stolen, algorithm=algorithm))
    refused(unsigned(claims_of(org), "", alg="ES256"))
    refused(unsigned(claims_of(org), _encoded(b"\x00" * 64)))


KIDS: dict[str, Any] = {
    "another": "k2",
    "empty": "",
    "a path": "../../../../dev/null",
    "SQL": "x' UNION SELECT 'secret' --",
    "a command": "$(id)",
    "an URL": "https://evil.example/key.pem",
    "10 kB": "k" * 10_000,
    "NUL": "\x00",
    "a number": 1,
    "a list": ["k1"],
    "an object": {"k1": "k1"},
    "nothing": None,
}


@pytest.mark.parametrize("kid", KIDS.values(), ids=KIDS.keys())
def test_a_key_id_that_is_not_in_the_ring_is_refused(kid: Any, org: Org) -> None:
    signature = org.tokens.access_token.rpartition(".")[2]

    refused(unsigned(claims_of(org), signature, kid=kid))


def test_a_token_that_names_no_key_is_refused(org: Org) -> None:
    _, private = ours()

    refused(jwt.encode(claims_of(org), private, "ES256", {"typ": "at+jwt"}))


def _own_key() -> dict[str, Any]:
    return jwt.algorithms.ECAlgorithm.to_jwk(
        ec.generate_private_key(ec.SECP256R1()).public_key(), as_dict=True
    )


@pytest.mark.parametrize(
    "header",
    [
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jwk": {"kty": "EC", "crv": "P-256"}},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"typ": "JWT"},
        {"typ": "AT+JWT2"},
        {"typ": None},
    ],
    ids=str,
)
def test_a_header_that_asks_for_more_is_refused_even_with_our_signature(
    header: dict[str, Any], org: Org
) -> None:
    head = unsigned(claims_of(org), **header).rstrip(".")
    _, private = ours()
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
        head.encode(), private
    )

    refused(f"{head}.{_encoded(signature)}")


def test_a_token_that_brings_its_own_key_is_refused(org: Org) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    brought = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)

    refused(signed(claims_of(org), key=private, jwk=brought))
    refused(signed(claims_of(org), key=private, jwk=_own_key(), kid="k1"))


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"iss": ""},
        {"aud": "somebody-else"},
        {"aud": "metergate-staff"},
        {"aud": ["somebody-else"]},
        {"aud": []},
        {"org": "org_of_nobody"},
    ],
    ids=str,
)
def test_a_token_of_ours_for_somebody_else_is_refused(change: dict[str, Any], org: Org) -> None:
    refused(signed(claims_of(org, **change)))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_token_without_one_of_its_claims_is_refused(claim: str, org: Org) -> None:
    claims = claims_of(org)
    del claims[claim]

    refused(signed(claims))


@pytest.mark.parametrize(
    "exp", [10**10, 10**18, 10**30, 1e308, "9999999999", None, [], {}, "soon"], ids=repr
)
def test_a_token_that_would_live_for_ever_is_refused(exp: Any, org: Org) -> None:
    head = unsigned(claims_of(org, exp=exp)).rstrip(".")
    _, private = ours()
    algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)

    refused(f"{head}.{_encoded(algorithm.sign(head.encode(), private))}")


def test_a_token_whose_time_is_over_is_told_so(org: Org) -> None:
    past = int((clock.real_now() - timedelta(minutes=20)).timestamp())

    token = signed(claims_of(org, iat=past, nbf=past, exp=past + 600))

    refused(token, "TOKEN_EXPIRED")


def test_a_token_whose_time_is_over_and_that_is_not_ours_is_told_nothing(org: Org) -> None:
    past = int((clock.real_now() - timedelta(minutes=20)).timestamp())

    refused(
        signed(
            claims_of(org, iat=past, nbf=past, exp=past + 600),
            key=ec.generate_private_key(ec.SECP256R1()),
        )
    )


@pytest.mark.parametrize("claim", ["nbf", "iat"])
def test_a_token_whose_time_has_not_come_is_refused(claim: str, org: Org) -> None:
    later = int((clock.real_now() + timedelta(minutes=5)).timestamp())

    refused(signed(claims_of(org, **{claim: later})))


@pytest.mark.parametrize(
    "token",
    [
        ".",
        "..",
        "...",
        "a.b.c",
        "eyJ.eyJ.eyJ",
        "é.é.é",
        "\x00.\x00.\x00",
        "a" * 100_000,
        "e30.e30.e30",
        "bnVsbA.bnVsbA.",
        "W10.W10.W10",
    ],
    ids=lambda token: token[:12].encode().hex(),
)
def test_what_is_no_token_at_all_is_refused(token: str, org: Org) -> None:
    refused(token)


def test_every_changed_character_is_noticed(org: Org) -> None:
    head, body, signature = org.tokens.access_token.split(".")
    swapped = claims_of(org, scopes=["usage:void"])

    refused(f"{head}.{_encoded(json.dumps(swapped).encode())}.{signature}")
    refused(f"{head}.{body}.{signature[::-1]}")
    refused(f"{head}.{body}.{signature[:-4]}")
    refused(f"{head}.{body}.{signature}{signature}")
    refused(f"{body}.{head}.{signature}")


def test_a_good_token_is_good_again_after_bad_ones(org: Org) -> None:
    refused(unsigned(claims_of(org)))

    assert answer_to(org.tokens.access_token).status_code == 200
