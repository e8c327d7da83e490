"""The ring of signing keys: turned without a burst of 401s, and readable by anybody's verifier."""

import base64
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jwt as pyjwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from django.conf import settings as configured
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.contract import clock
from config.contract.errors import Unauthenticated
from tests.support.cast import Org, tokens_for
from tokens import jwt
from tokens.scopes import OWNER

pytestmark = pytest.mark.django_db(transaction=True)

UseKeys = Callable[..., None]


def pem_free(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a key as the setting holds it."""
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return base64.urlsafe_b64encode(der).decode().rstrip("=")


def key(kid: str) -> str:
    """Return an entry of the setting with a key of its own."""
    return f"{kid}:{pem_free(ec.generate_private_key(ec.SECP256R1()))}"


@pytest.fixture
def use_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[UseKeys]:
    """Restart, as far as keys are concerned, with another ring."""

    def use(*entries: str) -> None:
        monkeypatch.setattr(configured, "TOKEN_SIGNING_KEYS", ",".join(entries))
        jwt.forget_keys()

    yield use
    jwt.forget_keys()


def published() -> dict[str, Any]:
    response = Client().get("/.well-known/jwks.json")
    assert response.status_code == 200
    keys: dict[str, Any] = response.json()
    return keys


def verified_elsewhere(token: str, key_set: dict[str, Any]) -> dict[str, Any]:
    """Verify as a client's backend does that knows nothing but the published keys."""
    ring = pyjwt.PyJWKSet.from_dict(key_set)
    kid = pyjwt.get_unverified_header(token)["kid"]
    claims: dict[str, Any] = pyjwt.decode(
        token,
        ring[kid].key,
        algorithms=["ES256"],
        audience=configured.TOKEN_AUDIENCE,
        issuer=configured.TOKEN_ISSUER,
    )
    return claims


def signed(org: Org, **claims: Any) -> str:
    """Return the organisation's token with other claims, under our own signature."""
    audience = configured.TOKEN_AUDIENCE
    held = jwt.read(org.tokens.access_token, audience=audience, now=clock.real_now())
    return jwt.backend(audience).encode({**held, **claims})


def works(org: Org, token: str) -> bool:
    answer = org.client.get("/api/me/entitlements", headers={"Authorization": f"Bearer {token}"})
    return bool(answer.status_code == 200)


def test_a_key_is_turned_without_one_refused_token(org: Org, use_keys: UseKeys) -> None:
    old, new = key("2026-10"), key("2026-11")
    rings = {
        "the old key alone": [old],
        "the new one published, last": [old, new],
        "the new one signs, first": [new, old],
        "the old one removed": [new],
    }
    tokens: dict[str, str] = {}
    refused = set()

    for stage, ring in rings.items():
        # One lifetime passes from each stage to the next: only the last stage's tokens live.
        living = dict(list(tokens.items())[-1:])
        use_keys(*ring)
        tokens[stage] = tokens_for(org.id, OWNER).access_token
        living[stage] = tokens[stage]
        refused |= {(stage, of) for of, token in living.items() if not works(org, token)}
        for token in living.values():
            assert verified_elsewhere(token, published())["org"] == org.id

    assert not refused
    assert not works(org, tokens["the new one published, last"])


def test_during_a_rolling_restart_each_process_takes_the_others_tokens(
    org: Org, use_keys: UseKeys
) -> None:
    old, new = key("old"), key("new")
    rings = ([old, new], [new, old])

    for mine, yours in (rings, reversed(rings)):
        use_keys(*mine)
        token = tokens_for(org.id, OWNER).access_token
        use_keys(*yours)
        assert works(org, token)


def test_a_verifier_that_read_the_keys_before_the_turn_knows_the_new_one(
    org: Org, use_keys: UseKeys
) -> None:
    old, new = key("old"), key("new")
    use_keys(old, new)
    remembered = published()
    use_keys(new, old)

    token = tokens_for(org.id, OWNER).access_token

    assert pyjwt.get_unverified_header(token)["kid"] == "new"
    assert verified_elsewhere(token, remembered)["org"] == org.id


def test_the_key_set_has_the_shape_of_rfc_7517_and_no_private_part(use_keys: UseKeys) -> None:
    use_keys(key("a"), key("b"))

    keys = published()["keys"]

    assert [one["kid"] for one in keys] == ["a", "b"]
    for one in keys:
        assert set(one) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
        assert (one["kty"], one["crv"], one["alg"], one["use"]) == ("EC", "P-256", "ES256", "sig")


def test_a_coordinate_that_begins_with_zeros_keeps_its_32_bytes(use_keys: UseKeys) -> None:
    short = next(
        made
        for made in iter(lambda: ec.generate_private_key(ec.SECP256R1()), None)
        if made.public_key().public_numbers().x < 1 << 248
    )
    use_keys(f"short:{pem_free(short)}")

    [one] = published()["keys"]

    # RFC 7518 6.2.1.2: strict verifiers refuse another length.
    assert [len(base64.urlsafe_b64decode(one[name] + "=")) for name in ("x", "y")] == [32, 32]


def test_the_keys_are_read_and_never_written() -> None:
    answer = Client().post("/.well-known/jwks.json")

    assert answer.status_code == 405
    assert "max-age=300" in Client().get("/.well-known/jwks.json").headers["Cache-Control"]


def test_a_verifiers_cache_of_the_keys_is_shorter_than_their_time_of_publication() -> None:
    assert configured.ACCESS_TOKEN_LIFE.total_seconds() > 300


@pytest.mark.parametrize(
    "ring",
    [
        ["{a}", "{a}"],
        ["{a}", "a:{other}"],
        [":{other}"],
        ["{other}"],
        ["a b:{other}"],
        ["a:AAAA"],
        ["a:{p384}"],
        [""],
    ],
    ids=[
        "the same twice",
        "two keys of one name",
        "no name",
        "no colon",
        "a name with a space",
        "no key",
        "another curve",
        "nothing",
    ],
)
def test_a_ring_that_cannot_work_stops_the_start(ring: list[str]) -> None:
    words = {
        "a": key("a"),
        "other": key("b").partition(":")[2],
        "p384": pem_free(ec.generate_private_key(ec.SECP384R1())),
    }
    setting = ",".join(entry.format(**words) for entry in ring)

    with pytest.raises(ImproperlyConfigured, match="TOKEN_SIGNING_KEYS") as told:
        jwt.KeyRing(setting)

    assert words["other"] not in str(told.value)


def test_a_token_from_a_clock_that_runs_ahead_is_good_once_its_time_has_come(org: Org) -> None:
    soon = int(clock.real_now().timestamp()) + 60
    token = signed(org, iat=soon, nbf=soon, exp=soon + 600)

    early = works(org, token)
    with time_machine.travel(soon + 1):
        in_time = works(org, token)

    assert (early, in_time) == (False, True)


#: JSON values that a claim could hold if somebody else wrote it with our key.
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.lists(st.integers(), max_size=2)
    | st.just({})
    | st.sampled_from([1e400, -1e400, 2**70, "1", ["*"], "*", "1e9"])
)


@given(claim=st.sampled_from(jwt.Claims.__struct_fields__), value=ODD)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_claim_of_another_type_is_a_refusal_and_no_fault(
    org: Org, claim: str, value: object
) -> None:
    with contextlib.suppress(TypeError):  # PyJWT does not sign every nonsense
        token = signed(org, **{claim: value})
        now = clock.real_now()
        try:
            read = jwt.read(token, audience=configured.TOKEN_AUDIENCE, now=now)
        except Unauthenticated:
            return
        assert isinstance(read[claim], list if claim == "scopes" else (str, int))


@given(st.text(max_size=64) | st.from_regex(r"[A-Za-z0-9_-]{0,40}(\.[A-Za-z0-9_-]{0,40}){0,4}"))
def test_no_text_makes_reading_fail_otherwise_than_by_a_refusal(text: str) -> None:
    with pytest.raises(Unauthenticated):
        jwt.read(text, audience=configured.TOKEN_AUDIENCE, now=clock.real_now())


@pytest.mark.parametrize(
    "header",
    [b"[" * 2900, b'{"a":' * 480 + b"1" + b"}" * 480, b'{"kid":["a"]}', b'{"alg":1e999}', b"\xff"],
    ids=["deep list", "deep object", "kid as a list", "infinite alg", "no UTF-8"],
)
def test_no_header_makes_reading_fail_otherwise_than_by_a_refusal(header: bytes) -> None:
    token = base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.AA"

    with pytest.raises(Unauthenticated):
        jwt.read(token, audience=configured.TOKEN_AUDIENCE, now=clock.real_now())
