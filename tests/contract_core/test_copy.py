"""The fast copy: absolute values, replaced only by newer ones, dying in time."""

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis
from django.conf import settings
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from config.contract.copy import OrgCopy
from config.contract.copy_publisher import Field
from tests.races.interleave import all_at_once
from tests.races.valkeys import OwnValkey

ORG = "org_1"
KEY = "o:{org_1}"


def field(minor: int, *, major: int = 1, epoch: int = 1, name: str = "m:api_call") -> Field:
    return Field(name, epoch, major, minor, f"{epoch}.{major}.{minor}".encode())


def held(copy: OrgCopy) -> dict[str, bytes] | None:
    return copy.read(ORG)


def eventually(true: Callable[[], bool]) -> bool:
    """Wait for the background thread, which tells nobody when it is done."""
    deadline = time.monotonic() + 10
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_what_is_published_is_read_back(copy: OrgCopy) -> None:
    assert copy.publish(ORG, [field(1), field(7, name="auth")])

    assert held(copy) == {"m:api_call": b"1.1.1", "auth": b"1.1.7"}


def test_many_organisations_are_published_together_and_only_what_is_newer(copy: OrgCopy) -> None:
    copy.publish("org_7", [field(5)])

    copy.publish_many({f"org_{n}": [field(2)] for n in range(250)})

    assert copy.read("org_249") == {"m:api_call": b"1.1.2"}
    assert copy.read("org_7") == {"m:api_call": b"1.1.5"}


def test_publishing_many_survives_a_server_that_forgot_the_script(
    copy: OrgCopy, valkey: "redis.Redis"
) -> None:
    valkey.script_flush()

    copy.publish_many({ORG: [field(2)]})

    assert held(copy) == {"m:api_call": b"1.1.2"}


def test_publishing_many_to_a_valkey_that_is_away_raises_nothing_and_is_not_retried() -> None:
    away = OrgCopy("unix:///nowhere.sock?db=0")

    away.publish_many({ORG: [field(1)]})

    assert away.is_broken
    assert away._dirty == {}
    away.close()


def test_a_missing_copy_is_nothing_and_not_empty(copy: OrgCopy) -> None:
    assert held(copy) is None


@pytest.mark.parametrize(
    "older",
    [
        field(4),
        field(5),
        field(9, major=0),
        field(9, major=9, epoch=0),
    ],
    ids=["older version", "same version", "older period", "older epoch"],
)
def test_an_older_or_equal_field_changes_nothing(copy: OrgCopy, older: Field) -> None:
    copy.publish(ORG, [field(5)])

    copy.publish(ORG, [Field(older.name, older.epoch, older.major, older.minor, b"late")])

    assert held(copy) == {"m:api_call": b"1.1.5"}


@pytest.mark.parametrize(
    "newer",
    [field(10), field(0, major=2), field(0, major=0, epoch=2)],
    ids=["newer version", "newer period", "newer epoch"],
)
def test_a_newer_field_replaces_and_its_neighbours_stay(copy: OrgCopy, newer: Field) -> None:
    copy.publish(ORG, [field(9), field(1, name="auth")])

    copy.publish(ORG, [newer])

    assert held(copy) == {"m:api_call": newer.payload, "auth": b"1.1.1"}


orders = st.tuples(
    st.integers(0, 10**8 - 1), st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1)
)


@given(orders, orders)
def test_the_order_as_text_is_the_order_of_the_numbers(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    packed = [Field("m", *order, payload=b"").packed() for order in (one, other)]

    assert (packed[0] < packed[1]) == (one < other)


def test_publishers_in_any_order_leave_the_newest(copies: Callable[[str], OrgCopy]) -> None:
    versions = list(range(1, 61))
    random.Random(7).shuffle(versions)
    shares = [versions[n::3] for n in range(3)]

    def publisher(share: list[int]) -> Callable[[], None]:
        copy = copies(settings.VALKEY_URL)
        return lambda: [copy.publish(ORG, [field(version)]) for version in share].clear()

    all_at_once([publisher(share) for share in shares])

    assert held(copies(settings.VALKEY_URL)) == {"m:api_call": b"1.1.60"}


def test_nothing_prolongs_a_copys_life(copy: OrgCopy, valkey: redis.Redis) -> None:
    copy.publish(ORG, [field(1)])
    valkey.pexpire(KEY, 1_000)

    copy.publish(ORG, [field(2)])
    copy.fill(ORG, [field(3)], read_at=time.monotonic())

    assert 0 < int(str(valkey.pttl(KEY))) <= 1_000
    assert held(copy) == {"m:api_call": b"1.1.3"}


def test_a_copy_made_from_an_earlier_read_lives_shorter(copy: OrgCopy, valkey: redis.Redis) -> None:
    copy.fill(ORG, [field(1)], read_at=time.monotonic() - settings.COPY_TTL + 2)

    assert 0 < int(str(valkey.pttl(KEY))) <= 2_000


def test_a_read_older_than_a_copys_life_is_worth_nothing(copy: OrgCopy) -> None:
    copy.fill(ORG, [field(1)], read_at=time.monotonic() - settings.COPY_TTL)

    assert held(copy) is None


def test_what_was_read_before_a_copy_died_does_not_come_back_after(copy: OrgCopy) -> None:
    copy.publish(ORG, [field(1, name="auth")])
    read_at = time.monotonic()
    assert held(copy) is not None  # and version 5 is read from the database

    copy.publish(ORG, [field(6)])
    copy.forget(ORG)  # its time has come
    copy.fill(ORG, [field(5)], read_at=read_at, had_copy=True)

    assert held(copy) is None


def test_nor_does_it_come_back_into_a_copy_that_was_made_since(copy: OrgCopy) -> None:
    read_at = time.monotonic() - 1  # a copy was there, without the field; 5 is read
    copy.publish(ORG, [field(6)])
    copy.forget(ORG)  # its time has come
    copy.publish(ORG, [field(1, name="auth")])

    copy.fill(ORG, [field(5)], read_at=read_at, had_copy=True)

    assert held(copy) == {"auth": b"1.1.1"}


def test_a_missing_field_is_filled_in_beside_the_others(copy: OrgCopy) -> None:
    copy.publish(ORG, [field(1, name="auth")])

    copy.fill(ORG, [field(5)], read_at=time.monotonic(), had_copy=True)

    assert held(copy) == {"auth": b"1.1.1", "m:api_call": b"1.1.5"}


def test_valkey_away_is_no_error_and_no_copy(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy = copies(own_valkey.url)
    copy.publish(ORG, [field(1)])

    own_valkey.kill()

    assert held(copy) is None
    assert not copy.publish(ORG, [field(2)])
    assert copy.trouble() == "does not answer"
    assert copy.is_broken
    copy.forget(ORG)
    copy.fill(ORG, [field(2)], read_at=time.monotonic())


def test_what_valkey_did_not_take_is_sent_when_it_is_back(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    own_valkey.kill()
    copy.publish(ORG, [field(4), field(1, name="auth")])
    copy.publish(ORG, [field(3)])

    own_valkey.start()

    assert eventually(lambda: held(neighbour) == {"m:api_call": b"1.1.4", "auth": b"1.1.1"})
    assert eventually(lambda: not copy.is_broken and held(copy) == held(neighbour))


def test_a_process_does_not_read_what_it_knows_to_be_stale(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    copy.publish(ORG, [field(1)])
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", 1)  # it still answers reads, and refuses writes
        assert not copy.publish(ORG, [field(2)])
        copy._broken_until = 0.0  # the breaker alone would hide it

        assert held(copy) is None
        assert held(neighbour) == {"m:api_call": b"1.1.1"}  # who does not know lags, in bounds

        client.config_set("maxmemory", 0)
    assert eventually(lambda: held(copy) == held(neighbour) == {"m:api_call": b"1.1.2"})


def evaluations(server: OwnValkey) -> int:
    """Return how many publishes reached a Valkey that was started empty."""
    with redis.Redis.from_url(server.url) as client:
        stats: dict[str, Any] = client.info("commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_a_publish_that_waited_in_a_paused_valkey_does_nothing_when_that_goes_on(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    copy.publish("org_7", [field(1)])
    before = evaluations(own_valkey)

    own_valkey.pause()
    assert not copy.publish(ORG, [field(1)])
    copy._closing.set()  # its process ends: nobody sends anything newer
    time.sleep(0.7)  # so long is the outage
    own_valkey.resume()

    assert eventually(lambda: evaluations(own_valkey) == before + 1)
    assert held(neighbour) is None


@pytest.mark.parametrize(
    "late",
    [
        lambda copy: copy.fill(ORG, [field(1)], read_at=time.monotonic()),
        lambda copy: copy.publish_many({ORG: [field(1)]}),
    ],
    ids=["fill", "publish_many"],
)
def test_nor_does_what_was_not_to_be_sent_again(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey, late: Callable[[OrgCopy], None]
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    copy.publish("org_7", [field(1)])
    before = evaluations(own_valkey)

    own_valkey.pause()
    late(copy)
    time.sleep(0.7)  # so long is the outage
    own_valkey.resume()

    assert eventually(lambda: evaluations(own_valkey) == before + 1)
    assert held(neighbour) is None


def test_what_was_unsent_for_longer_than_a_copys_life_still_replaces_what_is_older(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    with override_settings(COPY_TTL=0.3):
        copy.publish(ORG, [field(1)])
        with redis.Redis.from_url(own_valkey.url) as client:
            client.pexpire(KEY, 60_000)  # as where Valkey's clock stands still with it
        own_valkey.pause()
        copy.publish(ORG, [field(2), field(1, name="auth")])
        time.sleep(1.5)  # so long is the outage
        own_valkey.resume()

        assert eventually(lambda: held(neighbour) == {"m:api_call": b"1.1.2"})


def test_but_it_makes_no_copy(copies: Callable[[str], OrgCopy], own_valkey: OwnValkey) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    own_valkey.kill()
    with override_settings(COPY_TTL=0.1):
        copy.publish(ORG, [field(2)])
        time.sleep(0.1)  # so long is the outage
        own_valkey.start()
        assert eventually(lambda: not copy._dirty)

    assert held(neighbour) is None


def test_a_copy_made_of_what_was_unsent_dies_as_early_as_if_it_had_been_sent(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    own_valkey.kill()
    copy.publish(ORG, [field(2)])
    published_at = time.monotonic()
    own_valkey.start()
    assert eventually(lambda: held(neighbour) is not None)

    looked_at = time.monotonic()
    with redis.Redis.from_url(own_valkey.url) as client:
        left = int(str(client.pttl(KEY))) / 1000

    assert 0 < left <= settings.COPY_TTL - (looked_at - published_at) + 0.005


def test_unsent_fields_are_kept_until_valkey_answers_and_up_to_a_number(
    copies: Callable[[str], OrgCopy], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("config.contract.copy._MOST_DIRTY", 2)
    copy = copies("unix:///nowhere.sock?db=0")

    for org_id in ("org_1", "org_2", "org_1", "org_3"):
        copy.publish(org_id, [field(1)])

    assert list(copy._dirty) == ["org_1", "org_3"]


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
def test_a_valkey_whose_clock_was_set_takes_what_is_published(copy: OrgCopy, set_by: float) -> None:
    copy.publish(ORG, [field(1)])
    clock = copy._publisher._clock
    true = clock.ahead
    assert true is not None
    clock.ahead = true + set_by

    assert copy.publish(ORG, [field(2)])
    assert held(copy) == {"m:api_call": b"1.1.2"}
    assert clock.ahead == pytest.approx(true, abs=60)


def test_failures_at_the_very_end_of_a_retry_are_not_forgotten(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy, neighbour = copies(own_valkey.url), copies(own_valkey.url)
    for version in range(1, 6):
        own_valkey.pause()
        copy._broken_until = 0.0
        copy.publish(ORG, [field(version)])
        own_valkey.resume()

        expected = {"m:api_call": b"1.1.%d" % version}
        assert eventually(partial(lambda wanted: held(neighbour) == wanted, expected))
