"""A sandbox in this test process: real HTTP, real PostgreSQL, moved by hand.

Nothing happens by itself: time moves with `advance`, webhooks go out with
`deliver`, so that no test has to wait for a thread.
"""

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from billing.sandbox.config import Config
from billing.sandbox.server import Sandbox

API_KEY = "sk_test_sandbox"
WEBHOOK_SECRET = "whsec_sandbox"  # noqa: S105 (it guards nothing)
DAY = 86_400


@dataclass(frozen=True)
class Control:
    """What a test may do to the sandbox, over its control endpoints."""

    url: str
    api_key: str

    def advance(
        self, *, days: float = 0, hours: float = 0, seconds: int = 0, to: int | None = None
    ) -> int:
        """Move time forward, doing what falls due. Returns the sandbox's new instant."""
        body = (
            {"to": to} if to is not None else {"seconds": int(days * DAY + hours * 3600) + seconds}
        )
        now: int = self._ask("POST", "advance", body)["now"]
        return now

    def travel(self, *, days: float = 0, hours: float = 0, seconds: int = 0) -> int:
        """Advance, and take the installation's own clock along (needs the database)."""
        from config.contract import clock

        now = self.advance(days=days, hours=hours, seconds=seconds)
        clock.set_offset(self.state()["offset"])
        return now

    def now(self) -> int:
        """The sandbox's instant, in Unix seconds."""
        now: int = self.state()["now"]
        return now

    def fault(
        self, kind: str, *, count: int = 1, path: str = "*", method: str = "%", seconds: float = 0
    ) -> None:
        """Order a fault (see `billing.sandbox.faults`) for the next `count` occasions."""
        self._ask(
            "POST",
            "faults",
            {"kind": kind, "count": count, "path": path, "method": method, "seconds": seconds},
        )

    def clear_faults(self) -> None:
        """Forget the faults still on order."""
        self._ask("DELETE", "faults")

    def deliver_to(self, url: str | None) -> None:
        """Say where webhooks go; None keeps them in the outbox."""
        self.settings(webhook_url=url)

    def deliver(self) -> dict[str, int]:
        """Send every waiting webhook once. Returns how many were delivered, failed, dropped."""
        sent: dict[str, int] = self._ask("POST", "deliver")
        return sent

    def settings(self, **values: Any) -> None:
        """Change `auto_card`, `dunning_outcome` or `webhook_url`."""
        self._ask("POST", "settings", values)

    def reset(self) -> None:
        """Empty the sandbox; the catalogue is made again."""
        self._ask("POST", "reset")

    def state(self) -> dict[str, Any]:
        """The sandbox's time, counts, outbox, faults and settings."""
        found: dict[str, Any] = self._ask("GET", "state")
        return found

    def show(self, id_: str) -> dict[str, Any]:
        """Return any object as it is now."""
        found: dict[str, Any] = self._ask("GET", f"objects/{id_}")
        return found

    def objects(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return all objects (of a kind), oldest first."""
        found: list[dict[str, Any]] = self._ask(
            "GET", f"objects?kind={kind}" if kind else "objects"
        )
        return found

    def events(self, object_id: str | None = None, *, type_: str | None = None) -> list[Any]:
        """Return events, oldest first, of one object and type."""
        query = "?limit=100000" + (f"&object={object_id}" if object_id else "")
        found: list[Any] = self._ask("GET", f"events{query}")
        return [event for event in found if type_ in {None, event["type"]}]

    def replay(self, event_id: str) -> None:
        """Put an event into the outbox again."""
        self._ask("POST", f"events/{event_id}/replay")

    def dispute(self, charge_id: str, **more: Any) -> dict[str, Any]:
        """Let a cardholder dispute a charge: `amount`, or as an `inquiry`."""
        opened: dict[str, Any] = self._ask("POST", "disputes", {"charge": charge_id, **more})
        return opened

    def fail_refund(self, refund_id: str) -> dict[str, Any]:
        """Let the bank send a refund back."""
        failed: dict[str, Any] = self._ask("POST", f"refunds/{refund_id}/fail")
        return failed

    def page(self, url: str, **form: str) -> tuple[int, str, str | None]:
        """GET a page, or POST a form to it. Returns status, HTML, and where it redirects to."""
        body = urlencode(form).encode() if form else None
        request = urllib.request.Request(url, data=body)  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), None
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode(), refused.headers.get("Location")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}/_sandbox/{path}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Authorization": f"Bearer {self.api_key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                raise AssertionError(f"{path}: {refused.code} {refused.read()!r}") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        return None


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_sandbox(
    *, api_key: str = API_KEY, webhook_secret: str = WEBHOOK_SECRET, name: str | None = None
) -> Iterator[Control]:
    """Run a sandbox in a schema of its own, removed at the end."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    config = Config(
        database_url=os.environ["SANDBOX_DATABASE_URL"],
        schema=f"test_{name or worker}",
        api_key=api_key,
        webhook_secret=webhook_secret,
        public_url=f"http://127.0.0.1:{free_port()}",
        background=False,
    )
    sandbox = Sandbox(config)
    sandbox.start()
    try:
        yield Control(config.public_url, api_key)
    finally:
        sandbox.database.drop()
        sandbox.stop()
