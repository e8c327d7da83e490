"""POST /api/quota/check and the copy: fast where it is there, right where it is not."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from config.contract import hotpool
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from config.contract.copy_publisher import ORDER_WIDTH
from quotas import check
from quotas.models import UsageCounter
from tests.contract.outages import no_database, no_valkey
from tests.contract.refusals import refused
from tests.support.cast import Org, data, make_org

pytestmark = pytest.mark.django_db(transaction=True)

ORDER = b"9" * ORDER_WIDTH
LOST: dict[str, Callable[[Any, str], Any]] = {
    "the key is gone": lambda valkey, key: valkey.delete(key),
    "the key has expired": lambda valkey, key: valkey.pexpireat(key, 1),
    "the counter is missing": lambda valkey, key: valkey.hdel(key, "m:api_call"),
    "the access summary is missing": lambda valkey, key: valkey.hdel(key, "auth"),
    "the counter is empty": lambda valkey, key: valkey.hset(key, "m:api_call", b""),
    "the counter is short": lambda valkey, key: valkey.hset(key, "m:api_call", ORDER),
    "the counter is garbage": lambda valkey, key: valkey.hset(key, "m:api_call", b"\xff" * 99),
    "the counter has another form": lambda valkey, key: valkey.hset(
        key, "m:api_call", ORDER + b"\x93\x01\x02\x03"
    ),
    "the counter's text is no UTF-8": lambda valkey, key: valkey.hset(
        key, "m:api_call", ORDER + b"\x9b\x01\xa2\xff\xfe"
    ),
    "the counter is text": lambda valkey, key: valkey.hset(key, "m:api_call", "1000000 left"),
    "the access summary is garbage": lambda valkey, key: valkey.hset(key, "auth", b"\xff" * 99),
    "the access summary's text is no UTF-8": lambda valkey, key: valkey.hset(
        key, "auth", ORDER + b"\x94\x01\x01\xc2\x91\xa2\xff\xfe"
    ),
    "there are fields nobody knows": lambda valkey, key: valkey.hset(key, b"\xff\xfe", b"\xff"),
    "the key holds no hash": lambda valkey, key: (valkey.delete(key), valkey.set(key, "x")),
}
each_way_to_lose_it = pytest.mark.parametrize("lose", LOST.values(), ids=LOST.keys())


@pytest.fixture
def cast(transactional_db: None) -> dict[str, Org]:
    """One organisation for each decision."""
    made = {
        "allowed": make_org(included=10),
        "denied": make_org(included=1),
        "without a subscription": make_org(status="canceled"),
        "over its quota, which is allowed": make_org(plan="business", included=0),
    }
    made["denied"].use(1)
    return made


@pytest.fixture
def production(settings: Settings) -> None:
    """As where real money is charged: the clock stands on no row of the database."""
    settings.CLOCK_MAY_MOVE = False


def decisions(cast: dict[str, Org]) -> dict[str, tuple[int, Any]]:
    """Return each organisation's answer, but for the ids of its request."""
    found = {}
    for name, org in cast.items():
        body = org.check(1).json()
        body.pop("meta", None)
        found[name] = (200 if body["ok"] else 400, body)
    return found


@pytest.mark.usefixtures("production")
def test_what_is_clearly_inside_is_allowed_without_asking_the_database(org: Org) -> None:
    org.check(1)

    with CaptureQueriesContext(connection) as queries, no_database():
        answer = data(org.check(10_000))

    assert answer["allow"] is True
    assert not queries.captured_queries


@pytest.mark.usefixtures("production")
def test_a_denial_is_never_taken_from_the_copy_alone(transactional_db: None) -> None:
    org = make_org(included=1)
    org.check(1)
    org.use(1)

    with no_database():
        response = org.check(1)

    refused(response, 503, "UNAVAILABLE")


@pytest.mark.usefixtures("production")
@pytest.mark.parametrize(("seconds", "status"), [(60.0, 429), (-1.0, 503)])
def test_a_confirmed_denial_is_taken_from_the_copy_for_a_moment(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, seconds: float, status: int
) -> None:
    monkeypatch.setattr("quotas.check._CONFIRMED_FOR", seconds)
    org = make_org(included=1)
    org.use(1)
    assert org.check(1).status_code == 429

    with no_database():
        response = org.check(1)

    assert response.status_code == status


def test_no_more_denials_are_remembered_than_fit(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quotas.check._MOST_CONFIRMED", 2)
    for _ in range(3):
        assert make_org(included=0).check(1).status_code == 429

    assert len(check._confirmed) == 1  # room was made for the third by forgetting both


def test_a_copy_that_is_behind_denies_nobody(valkey: "redis.Redis", org: Org) -> None:
    # As after a publish that was lost: the copy says that all is used.
    counters = UsageCounter.objects.filter(org_id=org.id, metric="api_call")
    org.use(10_000)
    stale = valkey.hget(f"o:{{{org.id}}}", "m:api_call")
    counters.update(included=20_000)
    assert stale is not None

    response = org.check(10_000)

    assert data(response)["remaining"] == 10_000


@each_way_to_lose_it
def test_without_a_sound_copy_the_database_decides_the_same(
    lose: Callable[[Any, str], Any], cast: dict[str, Org], valkey: "redis.Redis"
) -> None:
    before = decisions(cast)

    for org in cast.values():
        lose(valkey, f"o:{{{org.id}}}")

    assert decisions(cast) == before


@each_way_to_lose_it
def test_without_a_sound_copy_use_is_counted_all_the_same(
    lose: Callable[[Any, str], Any], org: Org, valkey: "redis.Redis"
) -> None:
    org.use(1)
    lose(valkey, f"o:{{{org.id}}}")

    answer = data(org.use(2))

    assert answer["used"] == 3
    assert data(org.check(1))["remaining"] == 9997


def test_a_lost_copy_is_made_again_by_the_first_who_misses_it(
    org: Org, valkey: "redis.Redis"
) -> None:
    valkey.delete(f"o:{{{org.id}}}")

    org.check(1)

    assert set(valkey.hkeys(f"o:{{{org.id}}}")) == {b"auth", b"m:api_call"}
    assert 0 < valkey.pttl(f"o:{{{org.id}}}") <= 10_000


def test_with_valkey_away_the_database_decides_the_same(cast: dict[str, Org]) -> None:
    before = decisions(cast)

    with no_valkey():
        during = decisions(cast)

    assert during == before


def test_with_valkey_away_a_check_sees_the_use_before_it(transactional_db: None) -> None:
    org = make_org(included=5)

    with no_valkey():
        seen = []
        for _ in range(5):
            seen.append(data(org.check(1))["remaining"])
            org.use(1)
        last = org.check(1)

    assert seen == [5, 4, 3, 2, 1]
    assert last.status_code == 429


def test_with_both_away_nothing_is_allowed(org: Org) -> None:
    org.check(1)

    with no_valkey(), no_database():
        answers = [org.check(1), org.check(1, soft=True)]

    for answer in answers:
        refused(answer, 503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) >= 1


def test_after_an_outage_of_both_it_goes_on(org: Org) -> None:
    with no_valkey(), no_database():
        org.check(1)

    assert data(org.check(1))["allow"] is True
    assert data(org.use(1))["used"] == 1


def test_what_was_used_while_valkey_was_away_is_seen_once_its_copy_expired(
    org: Org, valkey: "redis.Redis"
) -> None:
    org.check(1)
    with no_valkey():
        org.use(10_000)

    # The rest of its life the old copy may lag; then nobody believes it any more.
    valkey.delete(f"o:{{{org.id}}}")

    assert org.check(1).status_code == 429


def test_a_copy_lives_ten_seconds_and_nothing_prolongs_it(org: Org, valkey: "redis.Redis") -> None:
    key = f"o:{{{org.id}}}"
    valkey.delete(key)
    org.check(1)
    valkey.pexpire(key, 5_000)

    org.use(1)
    org.check(1)

    assert 0 < valkey.pttl(key) <= 5_000


def test_another_process_sees_the_use_through_the_copy(org: Org, settings: Settings) -> None:
    org.use(7)

    with clients.swapped("copy", OrgCopy(settings.VALKEY_URL)):
        answer = data(org.check(1))

    assert answer["remaining"] == 9993


def test_the_database_is_asked_through_the_hot_pool_alone(org: Org) -> None:
    hotpool.close_pool()

    with no_valkey(), CaptureQueriesContext(connection) as queries:
        assert data(org.check(1))["allow"] is True

    asked = [one["sql"] for one in queries.captured_queries]
    assert not [sql for sql in asked if "usagecounter" in sql or "entitlement" in sql]
