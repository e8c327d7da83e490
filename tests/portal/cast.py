"""Somebody who comes by a link, with a browser that runs no script."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.test import Client

from config.contract import clock
from config.contract.ids import new_id
from quotas.models import Entitlement, UsageCounter
from tests.support.cast import Org, data
from usage.models import UsageEvent

USAGE = "/portal/usage"
VISIT_COOKIE = "metergate_visit"
_FORM = re.compile(r"<form\b([^>]*)>(.*?)</form>", re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
_ACTION = re.compile(r'action="([^"]*)"')


def link_of(org: Org) -> str:
    """Have a link made over the API; return its path."""
    url: str = data(org.post("/api/portal-links", {"orgId": org.id}))["url"]
    assert url.startswith(settings.PUBLIC_URL)
    return urlsplit(url).path


def html(response: Any) -> str:
    """Return what a page says, entities read."""
    return unescape(response.content.decode()).replace("\N{NO-BREAK SPACE}", " ")


def forms(response: Any) -> dict[str, dict[str, str]]:
    """Return a page's forms by where they lead (empty: to itself), with their hidden fields."""
    found = {}
    for attributes, inner in _FORM.findall(response.content.decode()):
        action = _ACTION.search(attributes)
        found[action[1] if action else ""] = {
            name: unescape(value) for name, value in _HIDDEN.findall(inner)
        }
    return found


@dataclass
class Visitor:
    """A browser with its cookies. It sends what a form holds, and follows where it is led."""

    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def get(self, path: str = USAGE, **headers: str) -> Any:
        """GET a page."""
        return self.client.get(path, headers=headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> Any:
        """POST a form's fields."""
        return self.client.post(path, fields, headers=headers)

    def press(self, path: str, *, action: str = "", **instead: str) -> Any:
        """Open a page and press the button of one of its forms."""
        shown = self.get(path)
        assert shown.status_code == 200, (path, shown.status_code, html(shown))
        return self.post(action or path, {**forms(shown)[action], **instead})

    def open(self, path: str) -> Any:
        """Open a link: look, then press its button."""
        return self.press(path)


def visitor_of(org: Org) -> Visitor:
    """Return somebody who has opened a link of the organisation."""
    visitor = Visitor()
    opened = visitor.open(link_of(org))
    assert opened.status_code == 303, opened.content
    return visitor


def later(monkeypatch: pytest.MonkeyPatch, **passed: float) -> None:
    """Let real time have passed."""
    then = clock.real_now() + timedelta(**passed)
    monkeypatch.setattr(clock, "real_now", lambda: then)


def gone(response: Any) -> bool:
    """Tell whether a link was refused, in the words that say nothing more."""
    return response.status_code == 410 and "This link is no longer valid" in html(response)


def done(response: Any, what: str) -> bool:
    """Tell whether something was done, and the browser led back to the usage page."""
    return (response.status_code, response.headers.get("Location")) == (
        303,
        f"{USAGE}?done={what}",
    )


def shown_to(org: Org) -> str:
    """Return what the usage page says to who may do everything."""
    return html(visitor_of(org).get())


def used_before(org_id: str, metric: str, each_day: list[int], *, now: datetime) -> None:
    """Let a metric have been used on the days up to `now`, oldest first, within this period."""
    counter = UsageCounter.objects.get(org_id=org_id, metric=metric, period_end__gt=now)
    total = 0
    for ago, value in enumerate(reversed(each_day)):
        at = now - timedelta(days=ago)
        if not value:
            continue
        if at >= counter.period_start:
            total += value
        UsageEvent.objects.create(
            org_id=org_id,
            metric=metric,
            request_id=new_id("req"),
            value=value,
            occurred_at=at,
            counted_at=at,
            recorded_at=at,
            period_key=counter.period_key,
            period_start=counter.period_start,
            used_after=total,
            remaining_after=0,
            counter_version=1,
        )
    UsageCounter.objects.filter(pk=counter.pk).update(
        counted=counter.counted + total, version=counter.version + 1
    )
    Entitlement.objects.filter(org_id=org_id).update(started_at=now - timedelta(days=len(each_day)))
