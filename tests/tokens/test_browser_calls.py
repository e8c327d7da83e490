"""A page in a real browser meters use from an allowed domain; from another, CORS stops it."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Frame, Page

from config.contract import clock
from config.contract.ids import new_id
from tests.support.browser import site
from tests.support.cast import Org, make_org
from tests.support.live import Live
from tests.tokens.http import new_code
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

#: What a plugin does: send, and read the answer and the header that says what is left.
SEND = """
async ({url, token, body}) => {
  try {
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        "Content-Type": "application/json",
        ...(token ? {"Authorization": `Bearer ${token}`} : {}),
      },
      body: JSON.stringify(body),
    });
    return {
      status: answer.status,
      rateLimit: answer.headers.get("RateLimit"),
      body: await answer.json(),
    };
  } catch (error) {
    return {blocked: error.name};
  }
}
"""
ADVERTISEMENT = """
() => {
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.srcdoc = "<p>somebody's advertisement</p>";
  document.body.append(frame);
}
"""


@pytest.fixture
def shop(transactional_db: None) -> Org:
    """A shop whose plugin is bound to its domain."""
    return make_org(domain="shop.example")


@pytest.fixture
def port() -> Iterator[int]:
    """A web server that answers for every name."""
    with site() as listening:
        yield listening


def event(org: Org, **more: Any) -> dict[str, Any]:
    return {
        "orgId": org.id,
        "metric": "api_call",
        "value": 3,
        "occurredAt": clock.now().isoformat(),
        "request_id": new_id("req"),
        **more,
    }


def send(page: Page | Frame, live: Live, path: str, body: dict[str, Any], token: str = "") -> Any:
    """Send a body from a page, as a script there does."""
    return page.evaluate(SEND, {"url": f"{live.base}{path}", "token": token, "body": body})


def activated(page: Page, live: Live, org: Org) -> Any:
    """Return the tokens that a page got for a code of its shop."""
    code = new_code(org.id, domain="shop.example")
    answer = send(page, live, "/api/tokens/activate", {"activationCode": code})
    assert answer["status"] == 200, answer
    return answer["body"]["data"]


def test_a_page_of_the_shop_activates_records_use_and_reads_what_is_left(
    live: Live, page: Page, shop: Org, port: int
) -> None:
    page.goto(f"http://shop.example:{port}/")
    token = activated(page, live, shop)["accessToken"]

    counted = send(page, live, "/api/v1/usage", event(shop), token)
    refused = send(page, live, "/api/v1/usage", event(shop, value=10_001), token)

    assert counted["status"] == 200, counted
    assert counted["body"]["data"]["used"] == 3
    assert counted["rateLimit"].startswith('"api_call";r=9997;t=')
    assert refused["status"] == 429
    assert refused["body"]["error"]["code"] == "RATE_LIMITED"
    assert refused["rateLimit"].startswith('"api_call";r=9997;t=')
    assert UsageEvent.objects.get().value == 3


def test_with_the_same_token_a_page_of_another_domain_is_stopped(
    live: Live, page: Page, shop: Org, port: int
) -> None:
    console: list[str] = []
    page.on("console", lambda message: console.append(message.text))
    page.goto(f"http://shop.example:{port}/")
    token = activated(page, live, shop)["accessToken"]
    hosts = ["evil.example", "sub.shop.example", "shop.example.evil.example"]

    answers = []
    for host in hosts:
        page.goto(f"http://{host}:{port}/")
        answers.append(send(page, live, "/api/v1/usage", event(shop), token))
    # A frame without an origin, on the shop's own page.
    page.goto(f"http://shop.example:{port}/")
    page.evaluate(ADVERTISEMENT)
    page.frame_locator("iframe").locator("p").wait_for()
    answers.append(send(page.frames[1], live, "/api/v1/usage", event(shop), token))

    assert answers == [{"blocked": "TypeError"}] * 4
    for origin in [*(f"http://{host}:{port}" for host in hosts), "null"]:
        assert any(
            f"from origin '{origin}' has been blocked by CORS policy" in line for line in console
        ), console
    assert not UsageEvent.objects.exists()


def test_two_tabs_that_refresh_at_once_hold_the_same_token(
    live: Live, page: Page, shop: Org, port: int
) -> None:
    page.goto(f"http://shop.example:{port}/")
    held = activated(page, live, shop)
    asked = {
        "url": f"{live.base}/api/tokens/refresh",
        "body": {"refreshToken": held["refreshToken"]},
    }

    answers = page.evaluate(f"(it) => Promise.all([({SEND})(it), ({SEND})(it)])", asked)

    assert [one["status"] for one in answers] == [200, 200], answers
    [successor] = {one["body"]["data"]["refreshToken"] for one in answers}
    assert successor != held["refreshToken"]
