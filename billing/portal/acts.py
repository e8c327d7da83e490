"""What a visitor may do: each a page that asks, with one button that does it.

The doing is the API's own services under a key made with the page, so that a
double click, a reload or a second try does it once.
"""

import re
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from billing import payments
from billing.changes import services
from billing.changes.errors import PreviewStale
from billing.portal import questions, wording
from billing.portal.base import VisitPage
from billing.portal.pages import see_other
from billing.portal.questions import Question
from config.contract import clock
from config.contract.errors import ApiError, ValidationFailed
from tokens import portal
from tokens.throttles import count_stripe_page

_KEY = re.compile(r"[0-9a-f]{32}")
_NUMBER = re.compile(r"-?[0-9]{1,12}")
#: What every form of an act carries besides its token; the rest is the act's own.
_OWN = ("kind", "key", "expected_amount", "proration_date")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a form asks to be done. `key` makes it once; the numbers are as previewed."""

    kind: str
    key: str
    expected_amount: int | None = None
    proration_date: int | None = None
    fields: dict[str, str] = field(default_factory=dict)


class ActPage(VisitPage, ABC):
    """Ask, then do."""

    acting = True
    #: What a form of the page may ask to be done.
    kinds: frozenset[str]

    @abstractmethod
    def question(self) -> Question:
        """Return what to ask. May look at Stripe; writes nothing."""

    @abstractmethod
    def act(self, asked: Asked, key: str) -> None:
        """Do it, once per key."""

    def get(self, request: HttpRequest, **_: Any) -> HttpResponse:
        """Ask."""
        return self._ask()

    def post(self, request: HttpRequest, **_: Any) -> HttpResponse:
        """Do it, and lead back to the usage page."""
        asked = _asked(request)
        if asked.kind not in self.kinds:
            raise _not_ours()
        portal.note(
            self.visit,
            what=f"portal_{asked.kind.replace('-', '_')}",
            now=clock.real_now(),
            plan=str(self.kwargs.get("plan_code", "")),
        )
        try:
            self.act(asked, f"portal:{self.visit.link_id}:{asked.key}")
        except PreviewStale as stale:
            # Shown anew, under a new key: the old one remembers the refusal.
            return self._ask(problem=wording.explained(stale), status=stale.status)
        except ApiError as error:
            problem = wording.explained(error)
            if not problem.again:
                raise
            return self._ask_again(asked, error, problem)
        return see_other("portal-usage", f"?done={asked.kind}")

    def _ask(self, *, status: int = 200, problem: wording.Problem | None = None) -> HttpResponse:
        question = self.question()
        if question.kind is None:
            # Done already, by whoever: there is nothing to ask.
            return see_other("portal-usage")
        fields = {"kind": question.kind, "key": uuid.uuid4().hex, **question.fields}
        return self.page("ask", status=status, question=question, fields=fields, problem=problem)

    def _ask_again(self, asked: Asked, error: ApiError, problem: wording.Problem) -> HttpResponse:
        # The same form under the same key: whatever came of the first try, it is made once.
        response = self.page("again", status=error.status, problem=problem, fields=asked.fields)
        for name, value in error.headers.items():
            response.headers[name] = value
        return response


class PlanPage(ActPage):
    """Move to another plan: up now, down with the period, or anew after the end."""

    kinds = frozenset({"upgrade", "downgrade", "subscribe"})

    def question(self) -> Question:
        """Ask with the price that Stripe would charge."""
        return questions.of_plan(self.visit.org_id, self.kwargs["plan_code"])

    def act(self, asked: Asked, key: str) -> None:
        """Upgrade, downgrade or subscribe, as the form said."""
        org_id, code = self.visit.org_id, self.kwargs["plan_code"]
        match asked.kind:
            case "upgrade":
                services.upgrade(
                    org_id=org_id,
                    new_plan_code=code,
                    proration_date=asked.proration_date,
                    expected_amount=asked.expected_amount,
                    key=key,
                )
            case "downgrade":
                services.downgrade(org_id=org_id, new_plan_code=code, key=key)
            case "subscribe":
                services.subscribe(org_id=org_id, plan_code=code, key=key)


class CancelPage(ActPage):
    """End the plan with its period."""

    kinds = frozenset({"cancel"})

    def question(self) -> Question:
        """Ask with the day on which it ends."""
        return questions.of_cancelling(self.visit.org_id)

    def act(self, asked: Asked, key: str) -> None:
        """Cancel at the period's end."""
        services.cancel(org_id=self.visit.org_id, at="period_end", key=key)


class ResumePage(ActPage):
    """Take a cancellation back, or start a paused plan again."""

    kinds = frozenset({"resume"})

    def question(self) -> Question:
        """Ask with what it costs from then on."""
        return questions.of_resuming(self.visit.org_id)

    def act(self, asked: Asked, key: str) -> None:
        """Resume."""
        services.resume(org_id=self.visit.org_id, key=key)


class KeepPage(ActPage):
    """Take a scheduled downgrade back."""

    kinds = frozenset({"keep-plan"})

    def question(self) -> Question:
        """Ask whether to stay."""
        return questions.of_keeping(self.visit.org_id)

    def act(self, asked: Asked, key: str) -> None:
        """Release the schedule; a second time there is none, and nothing happens."""
        services.keep_plan(org_id=self.visit.org_id)


class StripePage(VisitPage):
    """The way to Stripe's own pages, and back.

    Not a redirect of the form: the policy on where forms lead names no other
    host, and Stripe's portal may be on a domain of the company's own.
    """

    acting = True
    #: Stripe's name of the one page to open, or None for the whole portal.
    flow: Any = None

    def get(self, request: HttpRequest) -> HttpResponse:
        """Lead back: whoever reloads here wants the page."""
        return see_other("portal-usage")

    def post(self, request: HttpRequest) -> HttpResponse:
        """Have a short-lived page made, and lead there."""
        count_stripe_page(self.visit.org_id)
        portal.note(self.visit, what="portal_stripe_opened", now=clock.real_now())
        url = payments.open_portal(
            org_id=self.visit.org_id,
            return_url=settings.PUBLIC_URL + reverse("portal-usage"),
            flow=self.flow,
        )
        return self.page("leaving", url=url)


def _asked(request: HttpRequest) -> Asked:
    given = {name: request.POST[name] for name in _OWN if name in request.POST}
    kind, key = given.get("kind", ""), given.get("key", "")
    numbers = [given[name] for name in _OWN[2:] if name in given]
    if not _KEY.fullmatch(key) or not all(map(_NUMBER.fullmatch, numbers)):
        raise _not_ours()
    return Asked(
        kind=kind,
        key=key,
        expected_amount=_number(given.get("expected_amount")),
        proration_date=_number(given.get("proration_date")),
        fields=given,
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _not_ours() -> ValidationFailed:
    return ValidationFailed({"": ["Not a form of this page"]})
