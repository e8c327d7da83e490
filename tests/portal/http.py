"""An owner of the running product, and a browser of hers that is watched."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Request, Response

from billing.models import InvoiceRef
from config.contract import clock
from tests.portal.cast import used_before
from tests.support.live import Live

#: Use of three weeks, as much at weekends as there is.
CALLS = [290, 240, 350, 260, 230, 180, 270, 490, 480, 280, 390, 300, 130, 120, 280]
CALLS += [530, 500, 490, 490, 130, 160, 430]
MILLISECONDS = [one * 73 for one in reversed(CALLS)]


@dataclass(frozen=True)
class LiveOwner:
    """Somebody who signed up over HTTP."""

    live: Live
    id: str
    token: str

    def call(self, path: str, **body: Any) -> Any:
        """POST as the owner; return the data of the answer."""
        return call(self.live, path, {"orgId": self.id, **body}, token=self.token)

    def link(self) -> str:
        """Return a link to the usage page."""
        url: str = self.call("/api/portal-links")["url"]
        return url

    def use(self, metric: str, each_day: list[int]) -> None:
        """Let there have been some use, the last of it today."""
        now = clock.now()
        at = now.isoformat()
        self.call("/api/v1/usage", metric=metric, value=1, occurredAt=at, request_id=f"r-{metric}")
        used_before(self.id, metric, each_day, now=now)

    def bill(self, *invoices: tuple[int, str]) -> None:
        """Let Stripe have told of invoices, newest first, a month apart."""
        for number, (total, status) in enumerate(invoices):
            InvoiceRef.objects.create(
                stripe_invoice_id=f"in_{number}",
                org_id=self.id,
                status=status,
                total=total,
                currency="usd",
                hosted_invoice_url=f"{self.live.base}/portal/x",
                created_at=clock.now() - timedelta(days=30 * number),
            )


def call(live: Live, path: str, body: dict[str, Any], *, token: str = "") -> Any:
    """POST JSON to the running product; return the data of its answer."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(  # noqa: S310 - loopback
        live.base + path, data=json.dumps(body).encode(), headers=headers
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)["data"]


def new_live_owner(live: Live) -> LiveOwner:
    """Sign an organisation up, and let three weeks of use have passed."""
    made = call(live, "/api/signup", {"orgName": "Northwind Traders", "email": "ann@acme.example"})
    tokens = call(live, "/api/tokens/activate", {"activationCode": made["activationCode"]})
    owner = LiveOwner(live, made["orgId"], tokens["accessToken"])
    owner.use("api_call", CALLS)
    owner.use("compute_ms", MILLISECONDS)
    owner.bill((9900, "open"), (123456, "paid"), (1900, "paid"))
    return owner


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """Open a page; the list gets what the console says, what fails, what leaves the machine."""
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    noticed: list[str] = []

    def failed(request: Request) -> None:
        # What the next page cuts short (an icon) did not fail.
        if request.failure != "net::ERR_ABORTED":
            noticed.append(f"failed: {request.url}")

    def sent(request: Request) -> None:
        if urlsplit(request.url).hostname != "127.0.0.1":
            noticed.append(f"foreign: {request.url}")

    def answered(response: Response) -> None:
        if response.status >= 500:
            noticed.append(f"{response.status}: {response.url}")

    page.on("console", lambda message: noticed.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: noticed.append(f"error: {error}"))
    page.on("requestfailed", failed)
    page.on("request", sent)
    page.on("response", answered)
    try:
        yield page, noticed
    finally:
        context.close()
