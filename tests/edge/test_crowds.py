"""Many at once, at a real server: who is held up, who is not, and who is sent away at once."""

import json
import selectors
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.conf import settings

from tests.edge.gate import APPLICATION, Gate
from tests.edge.wire import PATIENCE, Wire, ask, head, post, wire
from tests.support.cast import Org, make_org
from tests.support.live import Live, env_of_web, web

pytestmark = pytest.mark.django_db(transaction=True)

#: How many requests of one caller may wait in a lane (config.edge.lanes).
QUEUE = 256


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """A gate, open."""
    return Gate(tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def crowded(django_db_setup: None, gate: Gate) -> Iterator[Live]:
    """A web process as it is shipped, but for the gate."""
    env = env_of_web(
        GATE=str(gate.folder), PUBLIC_URL=settings.PUBLIC_URL, ALLOWED_HOSTS="metergate.example.com"
    )
    with web(env, application=APPLICATION) as live:
        yield live


class Crowd:
    """Connections that are kept, each with one request under way."""

    def __init__(self, live: Live, stack: ExitStack) -> None:
        self.live = live
        self._stack = stack

    def send(self, number: int, request: bytes) -> list[Wire]:
        """Send a request on so many connections of their own."""
        links = [self._stack.enter_context(wire(self.live)) for _ in range(number)]
        for link in links:
            link.send(request)
        return links


@pytest.fixture
def crowd(crowded: Live, gate: Gate) -> Iterator[Crowd]:
    """A crowd in front of a gate that is closed."""
    with ExitStack() as stack:
        gate.close()
        stack.callback(gate.open)
        yield Crowd(crowded, stack)


def known(live: Live) -> Org:
    """Make an organisation whose token was let in before, so that it has a share of its own."""
    org = make_org(included=1000)
    assert ask(live, checks(org)).status == 200
    return org


def of(org: Org, *lines: str) -> tuple[str, ...]:
    return (f"Authorization: Bearer {org.tokens.access_token}", *lines)


def checks(org: Org, *lines: str) -> bytes:
    body = json.dumps({"orgId": org.id, "metric": "api_call"}).encode()
    return post("/api/quota/check", body, *of(org, *lines))


def gets(path: str, org: Org, *lines: str) -> bytes:
    return head("GET", path, *of(org, *lines)).encode()


HEAVY = (
    "/api/v1/usage?limit=1000",
    "/api/v1/usage/series?metric=api_call&by=day",
    "/api/me/entitlements",
)


def test_two_hundred_connections_of_one_organisation_leave_the_others_their_threads(
    crowded: Live, gate: Gate, crowd: Crowd
) -> None:
    many, few = known(crowded), known(crowded)
    links = [
        link for path in HEAVY for link in crowd.send(50, gets(path, many, "X-Held: wide"))
    ] + crowd.send(50, checks(many, "X-Held: hot"))
    gate.wait_for(wide=1, hot=settings.WEB_HOT_THREADS // 2)

    answers = [ask(crowded, checks(few)), *(ask(crowded, gets(path, few)) for path in HEAVY)]

    assert [answer.status for answer in answers] == [200] * (1 + len(HEAVY))
    assert gate.inside() == {"wide": 1, "hot": settings.WEB_HOT_THREADS // 2}
    gate.open()
    assert {link.receive().status for link in links} <= {200, 503}


def test_a_crowd_of_strangers_leaves_who_is_known_a_thread(
    crowded: Live, gate: Gate, crowd: Crowd
) -> None:
    org = known(crowded)
    unknown = post("/api/quota/check", b"{}", "Authorization: Bearer nonsense", "X-Held: hot")
    links = crowd.send(100, unknown)
    gate.wait_for(hot=settings.WEB_HOT_THREADS // 4)

    assert ask(crowded, checks(org)).status == 200

    assert gate.inside() == {"hot": settings.WEB_HOT_THREADS // 4}
    gate.open()
    assert {link.receive().status for link in links} <= {401, 503}


def test_beyond_its_queue_an_organisation_is_sent_away_at_once_and_told_when_to_come_back(
    crowded: Live, gate: Gate, crowd: Crowd
) -> None:
    many, few = known(crowded), known(crowded)
    request = gets("/api/me/entitlements", many, "X-Held: wide")

    links = crowd.send(1 + QUEUE + 20, request)
    refused = answered(links, 20)
    other = ask(crowded, gets("/api/me/entitlements", few))

    assert gate.inside() == {"wide": 1}  # nobody has got on
    assert other.status == 200
    answers = [link.receive() for link in refused]
    assert {(answer.status, answer.error) for answer in answers} == {(503, "UNAVAILABLE")}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
    gate.open()
    rest = [link.receive().status for link in links if link not in refused]
    assert len(rest) == 1 + QUEUE
    assert set(rest) <= {200, 503}


def test_health_readiness_and_metrics_answer_while_every_thread_is_held(
    crowded: Live, gate: Gate, crowd: Crowd
) -> None:
    orgs = [known(crowded) for _ in range(settings.WEB_WIDE_THREADS)]
    held = [link for org in orgs for link in crowd.send(1, gets(HEAVY[0], org, "X-Held: wide"))]
    for org in orgs[:2]:
        held += crowd.send(settings.WEB_HOT_THREADS, checks(org, "X-Held: hot"))
        held += crowd.send(settings.STRIPE_PLACES, gets("/api/invoices", org, "X-Held: stripe"))
    gate.wait_for(
        wide=settings.WEB_WIDE_THREADS,
        hot=settings.WEB_HOT_THREADS,
        stripe=settings.STRIPE_PLACES,
    )

    for path in ("/healthz", "/readyz", "/metrics"):
        assert ask(crowded, head("GET", path)).status == 200

    gate.open()
    assert all(link.receive().status for link in held)


def test_clients_that_do_not_read_their_answers_hold_no_thread(
    crowded: Live, crowd: Crowd, gate: Gate
) -> None:
    gate.open()
    org = known(crowded)
    deaf = crowd.send(settings.WEB_THREADS + 1, gets("/api/schema", org))
    answered(deaf, len(deaf))  # its beginning; nobody reads it

    assert ask(crowded, checks(org)).status == 200
    assert ask(crowded, gets("/api/schema", org)).status == 200


def answered(links: list[Wire], number: int) -> list[Wire]:
    """Wait until at least so many have an answer to read; returns those that have."""
    with selectors.DefaultSelector() as selector:
        for link in links:
            selector.register(link.socket, selectors.EVENT_READ, link)
        end = time.monotonic() + PATIENCE
        while len(ready := selector.select(timeout=0.2)) < number:
            assert time.monotonic() < end, f"{len(ready)} of {number} have an answer"
            time.sleep(0.05)
        return [key.data for key, _ in ready]
