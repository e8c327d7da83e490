"""Guessing codes from many addresses leads nowhere, and shuts nobody else out."""

from collections import Counter
from typing import Any

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from config.contract import clock
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from tests.support.cast import Org, error
from tests.support.length import Length
from tests.tokens.http import activate, new_code, post, refresh
from tokens import operators, secrets
from tokens.models import ActivationCode, TokenFamily
from tokens.throttles import client_address

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESSES = [f"203.0.113.{number}" for number in range(1, 51)]


@pytest.mark.torture
def test_random_codes_from_50_addresses_hit_nothing_and_an_honest_client_gets_in(
    org: Org, settings: Settings, length: Length
) -> None:
    guesses, allowed = length.of(500, 10_000), length.of(5, 30)
    # Of an hour and not of a minute, so that no window ends while the test runs.
    settings.THROTTLE_TOKENS = f"{allowed}/hour"
    waiting = [new_code(org.id) for _ in range(3)]
    met: Counter[tuple[str, int]] = Counter()

    for number in range(guesses):
        address = ADDRESSES[number % len(ADDRESSES)]
        answer = activate(secrets.new_code(), address=address)
        met[address, answer.status_code] += 1
        if answer.status_code == 429:
            assert error(answer)["code"] == "THROTTLED"
            assert int(answer.headers["Retry-After"]) >= 1
        if number == guesses // 2:
            assert activate(waiting[0], address="198.51.100.7").status_code == 200

    assert {status for _, status in met} == {401, 429}
    assert {met[address, 401] for address in ADDRESSES} == {allowed}
    assert activate(waiting[1], address="198.51.100.7").status_code == 200
    # From a shut address not even a good code gets in; nor is it used up.
    assert activate(waiting[2], address=ADDRESSES[0]).status_code == 429
    assert activate(waiting[2], address="198.51.100.8").status_code == 200
    assert TokenFamily.objects.count() == 4  # the organisation's own, and the honest three
    assert not ActivationCode.objects.filter(used_at=None).exists()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/tokens/activate", {"activationCode": "mgc_x"}),
        ("/api/tokens/refresh", {"refreshToken": "mgr_x"}),
        ("/api/tokens/revoke", {"refreshToken": "mgr_x"}),
        ("/api/tokens/operator", {"keyId": "opk_x", "secret": "mgo_x"}),
    ],
)
def test_every_door_that_takes_a_secret_is_throttled(
    path: str, body: dict[str, Any], settings: Settings, transactional_db: None
) -> None:
    settings.THROTTLE_TOKENS = "2/hour"

    statuses = [post(path, body, address="203.0.113.1").status_code for _ in range(4)]

    assert statuses[2:] == [429, 429]
    assert 429 not in statuses[:2]


def test_a_spoofed_header_buys_no_new_bucket(org: Org, settings: Settings) -> None:
    settings.THROTTLE_TOKENS = "2/hour"

    statuses = [
        refresh("mgr_x", address="203.0.113.1", **{"X-Forwarded-For": f"10.0.0.{number}"})
        for number in range(4)
    ]

    assert [one.status_code for one in statuses] == [401, 401, 429, 429]


def test_behind_our_proxies_each_client_has_a_bucket_of_its_own_and_cannot_choose_it(
    org: Org, settings: Settings
) -> None:
    settings.THROTTLE_TOKENS = "2/hour"
    settings.TRUSTED_PROXIES = 1

    def tried(client: str, written: str = "") -> int:
        forwarded = f"{written}, {client}" if written else client
        answer = refresh("mgr_x", address="10.0.0.1", **{"X-Forwarded-For": forwarded})
        return int(answer.status_code)

    guesser = [tried("203.0.113.1", f"198.51.100.{number}") for number in range(4)]

    assert guesser == [401, 401, 429, 429]
    assert tried("198.51.100.1") == 401  # whoever the guesser claimed to be is not shut out


def test_one_household_of_ipv6_is_one_client(org: Org, settings: Settings) -> None:
    settings.THROTTLE_TOKENS = "2/hour"

    statuses = [
        refresh("mgr_x", address=f"2001:db8:1:2::{number}").status_code for number in range(1, 5)
    ]

    assert statuses == [401, 401, 429, 429]
    assert refresh("mgr_x", address="2001:db8:1:3::1").status_code == 401
    assert refresh("mgr_x", address="::ffff:203.0.113.9").status_code == 401


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (0, "1.2.3.4", "10.0.0.1"),
        (1, None, "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "1.2.3.4", "1.2.3.4"),
        (1, "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        (1, "1.2.3.4:5678", "1.2.3.4"),
        (1, "[2001:db8::1]:5678", "2001:db8::1"),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "unknown", "10.0.0.1"),
        (1, "x" * 9000, "10.0.0.1"),
        (2, "9.9.9.9, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        (2, "10.0.0.2", "10.0.0.1"),
    ],
)
def test_the_clients_address_is_what_our_outermost_proxy_saw(
    proxies: int, forwarded: str | None, address: str, settings: Settings
) -> None:
    settings.TRUSTED_PROXIES = proxies
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}

    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="10.0.0.1")

    assert client_address(request) == address


def test_with_valkey_away_the_limit_holds_in_the_process(org: Org, settings: Settings) -> None:
    settings.THROTTLE_TOKENS = "2/hour"
    settings.VALKEY_URL = "unix:///nowhere/valkey.sock"
    code = new_code(org.id)

    with clients.swapped("copy", OrgCopy(settings.VALKEY_URL)):
        statuses = [refresh("mgr_x", address="203.0.113.1").status_code for _ in range(4)]
        honest = activate(code, address="203.0.113.2").status_code

    assert statuses == [401, 401, 429, 429]
    assert honest == 200


def test_hot_routes_are_limited_for_each_organisation_also_when_an_operator_calls(
    org: Org, stranger: Org, settings: Settings
) -> None:
    settings.THROTTLE_HOT = "2/hour"
    key = operators.create(name="gateway", wanted=["usage:write"], who="t", now=clock.real_now())
    token, _ = operators.operator_token(key_id=key.key_id, secret=key.secret, now=clock.real_now())

    def as_operator(org_id: str) -> int:
        answer = post(
            "/api/quota/check",
            {"orgId": org_id, "metric": "api_call"},
            Authorization=f"Bearer {token}",
        )
        return int(answer.status_code)

    ours = [org.check().status_code, as_operator(org.id), as_operator(org.id)]
    theirs = [as_operator(stranger.id), as_operator(stranger.id), as_operator(stranger.id)]

    assert ours == [200, 200, 429]
    assert theirs == [200, 200, 429]
