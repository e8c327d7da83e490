"""A token bound to a domain works there, however that is spelled, and nowhere else."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from tests.support.cast import Org, data, error, make_org
from tests.tokens.http import activate, later, new_code, refresh
from tokens import cors, domains
from tokens.families import revoke_all
from tokens.models import ActivationCode

pytestmark = pytest.mark.django_db(transaction=True)

NEAR_MISSES = [
    "https://shop.example.evil.example",
    "https://evilshop.example",
    "https://sub.shop.example",
    "https://shop-example",
    "https://shop.example.com",
    "https://shopexample",
    "https://shop.exampl",
    "https://shop..example",
    "https://shop.example..",
    "https://.shop.example",
    "https://shop.example@evil.example",
    "https://evil.example#shop.example",
    "https://evil.example/shop.example",
    "https://evil.example?shop.example",
    "https://evil.example\\shop.example",
    "https://shop.example evil.example",
    "https://shop.example:443:443",
    "https://shop.example:",
    "https://shop.example%2eevil.example",
    "https://ѕhop.example",  # a Cyrillic letter first
    "https://xn--hop-ead.example",  # the same, as a browser writes it
    "https://shop․example",  # a one dot leader, which some fonts draw as a dot
    "https://*.example",
    "https://",
    "file://shop.example",
    "javascript:shop.example",
    "shop.example",  # an Origin has a scheme
    "null",
    "",
]
SPELLINGS = [
    "https://shop.example",
    "http://shop.example",
    "https://SHOP.Example",
    "HTTPS://shop.example",
    "https://shop.example:443",
    "https://shop.example:8443",
    "https://shop.example.",
    "https://shop.example.:443",
    "https://ｓｈｏｐ.example",  # full width, which IDNA writes as ours
    "https://shop。example",  # an ideographic full stop, likewise
]


@pytest.fixture
def shop(transactional_db: None) -> Org:
    return make_org(domain="shop.example")


def from_client(org: Org, domain: str, **headers: str) -> Any:
    """Call as a program that is no browser and names its domain."""
    body = {"orgId": org.id, "metric": "api_call"}
    return org.post("/api/quota/check", body, **{"x-client-domain": domain, **headers})


@pytest.mark.parametrize("origin", NEAR_MISSES)
def test_what_only_looks_like_the_domain_is_refused_at_every_door(shop: Org, origin: str) -> None:
    code = new_code(shop.id, domain="shop.example")

    assert error(shop.check_from(origin))["code"] == "DOMAIN_MISMATCH"
    assert error(refresh(shop.tokens.refresh_token, Origin=origin))["code"] == "DOMAIN_MISMATCH"
    assert error(activate(code, Origin=origin))["code"] == "CODE_INVALID"


@pytest.mark.parametrize("origin", SPELLINGS)
def test_every_spelling_of_the_domain_is_let_in_at_every_door(shop: Org, origin: str) -> None:
    code = new_code(shop.id, domain="shop.example")

    assert data(shop.check_from(origin))["allow"] is True
    assert refresh(shop.tokens.refresh_token, Origin=origin).status_code == 200
    assert activate(code, Origin=origin).status_code == 200


@pytest.mark.parametrize(
    ("named", "let_in"),
    [
        ("shop.example", True),
        ("SHOP.example.", True),
        ("shop.example:8080", True),
        (" shop.example ", True),
        ("https://shop.example", False),
        ("sub.shop.example", False),
        ("shop.example, evil.example", False),
        ("shop.example:٨٠", False),
    ],
)
def test_a_client_that_is_no_browser_names_its_domain(shop: Org, named: str, let_in: bool) -> None:
    answer = from_client(shop, named)

    assert answer.status_code == (200 if let_in else 403)


def test_a_browsers_origin_goes_before_what_a_page_may_write_itself(shop: Org) -> None:
    for origin in ("https://evil.example", "null"):
        answer = from_client(shop, "shop.example", Origin=origin)
        assert error(answer)["code"] == "DOMAIN_MISMATCH"


def test_without_either_a_bound_token_is_refused_and_a_free_one_is_not(shop: Org, org: Org) -> None:
    assert error(shop.check())["code"] == "DOMAIN_MISMATCH"
    assert org.check().status_code == 200
    assert org.check_from("https://anywhere.example").status_code == 200


@pytest.mark.parametrize(
    "named",
    ["bücher.example", "BÜCHER.example", "xn--bcher-kva.example", "bu\u0308cher.example"],
)
def test_a_name_in_another_script_is_one_domain_in_all_its_forms(named: str) -> None:
    org = make_org(domain="xn--bcher-kva.example")

    # A header is bytes; WSGI shows them to us as Latin-1.
    answer = from_client(org, named.encode().decode("latin-1"))

    assert answer.status_code == 200
    assert domains.normalised(named) == "xn--bcher-kva.example"


def preflight(origin: str) -> str | None:
    """Return the origin that CORS lets in, if it lets one in."""
    answer = Client().options(
        "/api/v1/usage", headers={"Origin": origin, "Access-Control-Request-Method": "POST"}
    )
    allowed: str | None = answer.headers.get("Access-Control-Allow-Origin")
    return allowed


def test_a_domain_may_call_as_soon_as_it_has_a_code(org: Org) -> None:
    before = preflight("https://new.example")
    new_code(org.id, domain="new.example")

    assert before is None
    assert preflight("https://new.example") == "https://new.example"


@pytest.mark.parametrize("ended", ["used_at", "revoked_at", "expires_at"])
def test_a_code_that_is_over_lets_no_domain_call(org: Org, ended: str) -> None:
    code = new_code(org.id, domain="new.example")
    if ended == "used_at":
        activate(code, Origin="https://new.example")
        revoke_all(org_id=org.id, who="test", now=later())
        cors.forget_domains()  # five seconds pass
    else:
        codes = ActivationCode.objects.filter(domain="new.example")
        codes.update(**{ended: later(seconds=-1), "created_at": later(minutes=-16)})

    assert preflight("https://new.example") is None


def test_while_the_database_is_away_cors_stays_as_it_was(shop: Org) -> None:
    assert preflight("https://shop.example") is not None
    cors._remembered["shop.example"] -= 3600
    options = connection.settings_dict["OPTIONS"]
    broken = {**options, "options": options["options"] + " -c role=nobody_of_that_name"}
    connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(connection.settings_dict, "OPTIONS", broken)
        known, unknown = preflight("https://shop.example"), preflight("https://new.example")

    assert (known, unknown) == ("https://shop.example", None)


@given(st.text(max_size=80) | st.from_regex(r"[a-z0-9.\-_:@。．]{0,40}", fullmatch=True))
def test_a_normalised_name_is_plain_and_stays_as_it_is(text: str) -> None:
    once = domains.normalised(text)

    if once is not None:
        assert once == once.lower() == once.strip(".")
        assert once.isascii()
        assert 0 < len(once) <= 253
        assert domains.normalised(once) == once
