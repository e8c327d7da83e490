"""CORS answers exactly the domains that are somebody's."""

from typing import Any

import pytest
from django.test import Client

from config.contract import clock
from tests.support.cast import Org, make_org
from tokens import families
from tokens.cors import forget_domains

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def shop(transactional_db: None) -> Org:
    return make_org(domain="shop.example")


def preflight(origin: str) -> Any:
    return Client().options(
        "/api/v1/usage",
        headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
    )


def test_a_live_domain_may_call_and_read_the_headers_it_needs(shop: Org) -> None:
    asked = preflight("https://shop.example")
    answered = shop.check_from("https://shop.example")

    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "authorization" in asked.headers["Access-Control-Allow-Headers"]
    assert answered.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "RateLimit" in answered.headers["Access-Control-Expose-Headers"]
    assert "Origin" in answered.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://evilshop.example",
        "https://sub.shop.example",
        "https://shop.example@evil.example",
        "https://shop.example/",
        "null",
        "file://shop.example",
        "https://",
        "shop.example",
    ],
)
def test_other_origins_get_no_header_that_lets_them(shop: Org, origin: str) -> None:
    asked = preflight(origin)

    assert "Access-Control-Allow-Origin" not in asked.headers
    assert "Origin" in asked.headers["Vary"]


def test_a_domain_loses_its_right_with_its_last_installation(shop: Org) -> None:
    families.revoke_all(org_id=shop.id, who="test", now=clock.real_now())
    forget_domains()

    assert "Access-Control-Allow-Origin" not in preflight("https://shop.example").headers
