"""Events that are worked on while a change is made: at chosen moments, step by step."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import transaction

from billing import convergence
from billing.convergence import Fetched
from billing.stripe_gateway import Json, StripeGateway
from billing.stripe_gateway.transport import Transport
from config.contract.clients import clients
from tests.billing.owners import Owner
from tests.sandbox.server import Control


class Interleaved(Transport):
    """The wire to Stripe, with a moment before and a moment after each request.

    `at_moment` is told the moment's number. What it asks of Stripe itself has no moments.
    """

    def __init__(self, base_url: str, at_moment: Callable[[int], None]) -> None:
        super().__init__(api_key=settings.STRIPE_API_KEY, base_url=base_url)
        self.moments = 0
        #: The moment before the last request that writes.
        self.before_the_write = 0
        self._at_moment = at_moment
        self._busy = False

    def call(self, operation: str, send: Callable[[Any], Any]) -> Json:
        """Send one request, with its two moments."""
        if self._busy:
            return super().call(operation, send)
        if not operation.endswith((".retrieve", ".list", ".create_preview")):
            self.before_the_write = self.moments
        self._pass()
        try:
            return super().call(operation, send)
        finally:
            self._pass()

    def _pass(self) -> None:
        self._busy = True
        try:
            self._at_moment(self.moments)
        finally:
            self._busy = False
            self.moments += 1


@contextmanager
def interleaved(sandbox: Control, at_moment: Callable[[int], None]) -> Iterator[Interleaved]:
    """Ask Stripe over such a wire."""
    transport = Interleaved(sandbox.url, at_moment)
    with clients.swapped("stripe", StripeGateway(transport)):
        yield transport


class EventWork:
    """Work on an event of the organisation's newest subscription, in its three steps."""

    def __init__(self, owner: Owner, sandbox: Control) -> None:
        self._owner, self._sandbox = owner, sandbox
        self._id = ""
        self._number = 0
        self._fetched: Fetched | None = None

    def take_number(self) -> None:
        """Begin: the number of the fetch is taken."""
        there = self._sandbox.objects("subscription")
        own = [one for one in there if one["customer"] == self._owner.customer_id]
        self._id = str(own[-1]["id"])
        self._number = convergence.take_number(self._id)

    def fetch(self) -> None:
        """See what Stripe has at this moment."""
        self._fetched = convergence.fetch(self._id, number=self._number)

    def write_down(self) -> None:
        """Arrive: what was seen is applied, unless something newer is."""
        assert self._fetched is not None
        with transaction.atomic():
            convergence.apply(self._fetched, because="an event")


class Schedule:
    """At which moment each step of each event's work happens; late ones after the answer."""

    def __init__(
        self, owner: Owner, sandbox: Control, moments: Sequence[tuple[int, int, int]]
    ) -> None:
        self._steps = sorted(
            (
                (moment, number, step)
                for work, moments_of in enumerate(moments)
                for number, (moment, step) in self._of(owner, sandbox, work, moments_of)
            ),
            key=lambda step: step[:2],
        )

    @staticmethod
    def _of(
        owner: Owner, sandbox: Control, work: int, moments: tuple[int, int, int]
    ) -> Iterator[tuple[int, tuple[int, Callable[[], None]]]]:
        event = EventWork(owner, sandbox)
        steps = (event.take_number, event.fetch, event.write_down)
        for number, (moment, step) in enumerate(zip(sorted(moments), steps, strict=True)):
            yield work * len(steps) + number, (moment, step)

    def pass_moment(self, moment: int) -> None:
        """Do what is due at a moment."""
        while self._steps and self._steps[0][0] <= moment:
            self._steps.pop(0)[2]()

    def finish(self) -> None:
        """Do what is left: it arrives after the answer."""
        while self._steps:
            self._steps.pop(0)[2]()
