"""The corners of the copy: the breaker, what is added while it is sent, and whose clock counts."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis
from django.conf import settings

from config.contract.copy import OrgCopy
from config.contract.copy_publisher import Field, Publisher, Where
from tests.contract_core.test_copy import KEY, ORG, evaluations, eventually, field, held
from tests.races.valkeys import OwnValkey

A_MINUTE = 60.0


def left_alone(copy: OrgCopy) -> None:
    """Let a process believe for a minute that Valkey is away, and nobody find out otherwise."""
    copy._broken_until = time.monotonic() + A_MINUTE
    copy._closing.set()


@pytest.mark.parametrize(
    "use",
    [
        lambda copy: copy.publish(ORG, [field(2)]),
        lambda copy: copy.publish_many({ORG: [field(2)]}),
        lambda copy: copy.fill(ORG, [field(2)], read_at=time.monotonic()),
        lambda copy: copy.read(ORG),
    ],
    ids=["publish", "publish_many", "fill", "read"],
)
def test_who_knows_that_valkey_is_away_asks_nothing_of_it(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey, use: Callable[[OrgCopy], Any]
) -> None:
    copy = copies(own_valkey.url)
    copy.publish(ORG, [field(1)])
    before = commands(own_valkey)
    left_alone(copy)

    assert not use(copy)

    assert commands(own_valkey) == before


def commands(server: OwnValkey) -> int:
    """Return how many commands of a copy reached a Valkey."""
    with redis.Redis.from_url(server.url) as client:
        stats: dict[str, Any] = client.info("commandstats")
    return sum(
        int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"])
        for name in ("evalsha", "eval", "hgetall", "time")
    )


def test_who_only_reads_has_somebody_find_out_when_valkey_is_back(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy = copies(own_valkey.url)
    own_valkey.kill()
    assert held(copy) is None

    assert copy._tender is not None
    assert copy._tender.is_alive()

    own_valkey.start()
    assert eventually(lambda: copy._tender is None and not copy.is_broken)


def test_what_is_published_where_nobody_tends_is_sent_all_the_same(
    copy: OrgCopy, copies: Callable[[str], OrgCopy]
) -> None:
    # As in a child of a fork: the parent's thread is not there, what it believed is.
    copy._broken_until = time.monotonic() + A_MINUTE

    assert not copy.publish(ORG, [field(2)])

    assert eventually(lambda: held(copies(settings.VALKEY_URL)) == {"m:api_call": b"1.1.2"})


def test_nor_does_a_thread_that_is_done_and_not_yet_gone_keep_another_from_starting(
    copy: OrgCopy, copies: Callable[[str], OrgCopy]
) -> None:
    copy._tender = threading.current_thread()
    copy._broken_until = time.monotonic() + A_MINUTE
    assert copy._send_dirty()  # there is nothing: its work is done
    assert not copy.is_broken
    copy._broken_until = time.monotonic() + A_MINUTE

    copy.publish(ORG, [field(2)])

    assert eventually(lambda: held(copies(settings.VALKEY_URL)) == {"m:api_call": b"1.1.2"})


class Interrupted(Publisher):
    """Publishes; something else happens right after the first time, or before the first meeting."""

    def __init__(self, copy: OrgCopy, then: Callable[[], Any]) -> None:
        super().__init__(copy._wire)
        self._then: Callable[[], Any] | None = then

    def publish(
        self,
        org_id: str,
        fields: Iterable[Field],
        *,
        known_at: float,
        where: Where = Where.ANYWHERE,
    ) -> bool:
        taken = super().publish(org_id, fields, known_at=known_at, where=where)
        self._happen()
        return taken

    def _happen(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()


class Met(Interrupted):
    """Something else happens before the first meeting only."""

    def publish(self, *arguments: Any, **named: Any) -> bool:
        return Publisher.publish(self, *arguments, **named)

    def meet(self) -> None:
        self._happen()
        super().meet()


def test_what_is_added_while_it_is_sent_is_sent_too(
    copy: OrgCopy, copies: Callable[[str], OrgCopy]
) -> None:
    copy._broken_until = time.monotonic() + A_MINUTE
    copy._publisher = Interrupted(copy, lambda: copy.publish(ORG, [field(2)]))
    neighbour = copies(settings.VALKEY_URL)

    copy.publish(ORG, [field(1)])

    assert eventually(lambda: held(neighbour) == {"m:api_call": b"1.1.2"})
    assert eventually(lambda: not copy._dirty and not copy.is_broken)


def test_no_request_tries_its_luck_while_somebody_finds_out(copy: OrgCopy) -> None:
    seen: list[bool] = []
    copy._publisher = Met(copy, lambda: seen.append(copy.is_broken))

    copy._remember(ORG, [field(1)], known_at=time.monotonic())

    assert eventually(lambda: seen != [])
    assert seen == [True]


def test_what_valkey_refuses_again_stays_to_be_sent(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy = copies(own_valkey.url)
    copy._closing.set()  # nobody but us
    copy._remember(ORG, [field(1)], known_at=time.monotonic())
    with redis.Redis.from_url(own_valkey.url) as client:
        client.config_set("maxmemory", 1)

        assert not copy._send_dirty()

        client.config_set("maxmemory", 0)
    assert copy._dirty
    assert copy._send_dirty()
    assert held(copies(own_valkey.url)) == {"m:api_call": b"1.1.1"}


def test_a_copy_made_of_several_fields_dies_with_the_oldest_of_them(
    copy: OrgCopy, valkey: "redis.Redis"
) -> None:
    copy._closing.set()
    now = time.monotonic()
    age = settings.COPY_TTL - 3
    copy._remember(ORG, [field(1)], known_at=now - age)
    copy._remember(ORG, [field(1, name="auth")], known_at=now)

    assert copy._send_dirty()

    assert 0 < int(str(valkey.pttl(KEY))) <= 3_000


def test_a_field_of_the_same_order_is_the_same_and_not_written_again(copy: OrgCopy) -> None:
    copy._closing.set()
    copy._remember(ORG, [field(2)], known_at=1.0)

    copy._remember(ORG, [field(2), field(1, name="auth")], known_at=2.0)

    # The older instant stays: from then on it was known.
    assert copy._dirty[ORG]["m:api_call"].known_at == 1.0


def test_the_time_of_a_valkey_is_learnt_from_what_it_refused_too(copy: OrgCopy) -> None:
    copy.publish(ORG, [field(1)])
    clock = copy._publisher._clock
    true = clock.ahead
    assert true is not None
    clock.ahead = true - 3600

    copy.publish_many({ORG: [field(2)]})

    assert held(copy) == {"m:api_call": b"1.1.1"}  # refused as late
    assert clock.ahead == pytest.approx(true, abs=A_MINUTE)


@pytest.mark.parametrize("set_by", [-3600.0, 3600.0])
def test_whoever_answers_after_an_outage_is_asked_for_its_time(
    copy: OrgCopy, set_by: float
) -> None:
    copy.publish(ORG, [field(1)])
    clock = copy._publisher._clock
    true = clock.ahead
    assert true is not None
    clock.ahead = true + set_by

    copy._publisher.meet()

    assert clock.ahead == pytest.approx(true, abs=A_MINUTE)


def test_a_publish_that_valkey_finds_late_is_not_taken(
    copies: Callable[[str], OrgCopy], own_valkey: OwnValkey
) -> None:
    copy = copies(own_valkey.url)
    copy.publish("org_7", [field(1)])
    before = evaluations(own_valkey)
    publisher = copy._publisher
    true = publisher._clock.ahead
    assert true is not None
    publisher._clock.ahead = true - 1.0  # as after a second in the socket

    taken = publisher._run(ORG, [field(1)], time.monotonic(), Where.ANYWHERE)

    assert not taken
    assert evaluations(own_valkey) == before + 1
    assert held(copy) is None
