"""PostgreSQL goes away for long and comes back: so does every web process, at once."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from config.contract import clock
from tests.support.cast import Org, make_org
from tests.support.cut import Cut
from tests.support.length import Length
from tests.support.live import Live, env_of_web, web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]
#: Seconds between the return of PostgreSQL and the first right answer.
PROMISED = 3.0


@pytest.fixture
def cut(transactional_db: None) -> Iterator[Cut]:
    """A way to PostgreSQL that is open, and may be cut."""
    made = Cut()
    made.mend()
    yield made
    made.close()


@pytest.fixture
def behind(cut: Cut) -> Iterator[Live]:
    """A web process that knows no other way."""
    with web(env_of_web(DATABASE_URL=cut.url, PUBLIC_URL=settings.PUBLIC_URL)) as live:
        yield live


def ask(live: Live, org: Org, method: str, path: str, body: Any = None) -> int:
    link = HTTPConnection(str(urlsplit(live.base).netloc), timeout=30)
    headers = {
        "Authorization": f"Bearer {org.tokens.access_token}",
        "Content-Type": "application/json",
    }
    try:
        link.request(method, path, json.dumps(body) if body else None, headers)
        answer = link.getresponse()
        answer.read()
        if answer.status == 503 and path.startswith("/api/"):
            assert answer.headers["Retry-After"]
        return answer.status
    finally:
        link.close()


def first_time(is_so: Callable[[], bool]) -> float:
    """Return how many seconds it took until something was so."""
    start = time.monotonic()
    while not is_so():
        assert time.monotonic() < start + 60
        time.sleep(0.05)  # as a client that is told to come back does
    return time.monotonic() - start


def test_every_pool_is_back_as_soon_as_the_database_is_however_long_it_was_away(
    behind: Live, cut: Cut, length: Length
) -> None:
    org = make_org(included=1000)
    use = {"orgId": org.id, "metric": "api_call", "value": 1, "request_id": "one"}
    use["occurredAt"] = clock.now().isoformat()
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/api/v1/usage", use),
        ("GET", "/api/v1/usage?metric=api_call", None),
        ("GET", "/readyz", None),
    ]

    def answers(*call: Any) -> bool:
        return ask(behind, org, *call) == 200

    assert all(answers(*call) for call in calls)

    cut.cut()
    end = time.monotonic() + length.of(17, 75)  # so long is the outage
    refused = set()
    while time.monotonic() < end:
        refused |= {ask(behind, org, *call) for call in calls}
        time.sleep(0.2)
    cut.mend()
    taken = [first_time(partial(answers, *call)) for call in calls]

    assert refused == {503}
    assert sum(taken) < PROMISED
