"""Heads, idle connections and readers that take their time: each has so much of it and no more."""

import time
from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.edge.wire import PATIENCE, ask, head, wire
from tests.support.live import Live, env_of_web, web

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def hasty(django_db_setup: None) -> Iterator[Live]:
    """A web process that gives heads and readers one second."""
    env = env_of_web(
        WEB_HEAD_SECONDS="1",
        WEB_ANSWER_SECONDS="1",
        PUBLIC_URL=settings.PUBLIC_URL,
        ALLOWED_HOSTS="metergate.example.com",
    )
    with web(env) as live:
        yield live


def test_a_head_that_drips_is_given_up_however_long_it_goes_on(hasty: Live) -> None:
    with wire(hasty) as link:
        link.send("GET /api/plans HTTP/1.1\r\nHost: metergate.example.com\r\nX-Slow: ")
        link.socket.settimeout(0.05)  # between two drops
        for _ in range(1200):
            try:
                link.send(b"a")
                if not link.socket.recv(65536).startswith(b"HTTP/1.1 2"):
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it was read for ever")


def test_an_idle_connection_is_closed(hasty: Live) -> None:
    with wire(hasty) as fresh, wire(hasty) as used:
        used.send(head("GET", "/healthz"))
        assert used.receive().status == 200

        assert fresh.is_closed()
        assert used.is_closed()


@pytest.mark.parametrize("line", ["X-Large: " + "a" * 140_000, "X-Many: 1\r\n" * 200])
def test_a_head_too_large_or_of_too_many_lines_is_refused_and_the_connection_closed(
    hasty: Live, line: str
) -> None:
    with wire(hasty) as link:
        link.send(head("GET", "/api/plans", line.strip()))

        assert link.receive().status == 431
        assert link.is_closed()


def test_a_client_that_takes_nothing_of_its_answer_is_given_up_on(hasty: Live) -> None:
    with wire(hasty, window=4096) as link:
        link.send(head("GET", "/api/schema") * 16)
        end = time.monotonic() + PATIENCE
        while link.is_known_to_server():
            assert time.monotonic() < end, "it is kept for ever"
            time.sleep(0.1)  # the kernel has no way to tell us

        assert ask(hasty, head("GET", "/api/schema")).status == 200


def test_a_client_that_takes_its_answer_in_bits_gets_all_of_it(hasty: Live) -> None:
    size = len(ask(hasty, head("GET", "/api/schema")).body)
    received = 0
    with wire(hasty, window=4096) as link:
        link.send(head("GET", "/api/schema", "Connection: close"))
        while chunk := link.socket.recv(32_768):
            received += len(chunk)
            time.sleep(0.02)  # so slow a client

    assert received > size
