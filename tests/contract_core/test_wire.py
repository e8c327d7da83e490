"""The line to Valkey: one connection a thread, one answer a command."""

import threading
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings

from config.contract.copy import OrgCopy
from config.contract.copy_publisher import Field
from config.contract.wire import Wire
from tests.races.interleave import all_at_once
from tests.races.valkeys import OwnValkey


@pytest.fixture
def wire(own_valkey: OwnValkey) -> Iterator[Wire]:
    """A line to a Valkey that may be stopped."""
    line = Wire(own_valkey.url)
    yield line
    line.close()


def test_answers_are_what_the_server_said(wire: Wire) -> None:
    assert wire.ask("PING") == b"PONG"
    assert wire.ask("SET", "a", b"\x00\xff") == b"OK"
    assert wire.ask("GET", "a") == b"\x00\xff"
    assert wire.ask("GET", "b") is None
    assert wire.ask("HSET", "h", "x", 1, "y", "é") == 2
    assert wire.ask("HGETALL", "h") == [b"x", b"1", b"y", "é".encode()]


def test_an_error_of_the_server_is_raised_and_the_line_goes_on(wire: Wire) -> None:
    with pytest.raises(redis.ResponseError):
        wire.ask("NO-SUCH-COMMAND")

    assert wire.ask("PING") == b"PONG"


def test_a_server_that_was_restarted_is_simply_asked_again(
    wire: Wire, own_valkey: OwnValkey
) -> None:
    wire.ask("PING")
    own_valkey.kill()
    own_valkey.start()

    assert wire.ask("PING") == b"PONG"


def test_a_server_that_is_away_is_an_error_and_back_is_none(
    wire: Wire, own_valkey: OwnValkey
) -> None:
    own_valkey.kill()
    with pytest.raises(redis.ConnectionError):
        wire.ask("PING")

    own_valkey.start()

    assert wire.ask("PING") == b"PONG"


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next(
    wire: Wire, own_valkey: OwnValkey
) -> None:
    wire.ask("SET", "question", "old")
    own_valkey.pause()
    with pytest.raises(redis.TimeoutError):
        wire.ask("GET", "question")
    own_valkey.resume()

    assert wire.ask("ECHO", "mine") == b"mine"


def connections(wire: Wire) -> int:
    """Return how many connections the server ever took."""
    stats: bytes = wire.ask("INFO", "stats")
    [line] = [one for one in stats.splitlines() if one.startswith(b"total_connections_received")]
    return int(line.partition(b":")[2])


def test_who_waited_in_vain_waits_no_second_time(wire: Wire, own_valkey: OwnValkey) -> None:
    before = connections(wire)
    own_valkey.pause()
    with pytest.raises(redis.TimeoutError):
        wire.ask("PING")
    own_valkey.resume()

    assert connections(wire) == before + 1  # the one that asks now


def test_a_child_of_a_fork_speaks_over_a_line_of_its_own(wire: Wire) -> None:
    parents = wire.ask("CLIENT", "ID")
    wire._mine.pid -= 1  # as a child finds it

    assert wire.ask("CLIENT", "ID") != parents


def test_threads_do_not_hear_each_others_answers(wire: Wire) -> None:
    def talk() -> bool:
        name = str(threading.get_ident()).encode()
        return all(wire.ask("ECHO", name + b"-%d" % n) == name + b"-%d" % n for n in range(200))

    assert all_at_once([talk] * 4) == [True] * 4


def test_a_server_that_forgot_the_script_is_told_again() -> None:
    copy = OrgCopy(settings.VALKEY_URL)
    with redis.Redis.from_url(settings.VALKEY_URL) as client:
        client.script_flush()

    assert copy.publish("org_1", [Field("m", 1, 1, 1, b"x")])
    assert copy.read("org_1") == {"m": b"x"}
    copy.close()
