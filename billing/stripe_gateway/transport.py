"""One call to Stripe: guards before, errors mapped after, nothing of ours held meanwhile."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import stripe
import structlog
from django.conf import settings
from django.db import connections

from billing.stripe_gateway.callers import Callers
from billing.stripe_gateway.errors import translated
from config.contract.errors import Unavailable

logger = structlog.get_logger(__name__)

#: A Stripe object as JSON.
Json = dict[str, Any]
#: Asks for one page of a list, with these parameters.
Paged = Callable[[stripe.StripeClient, Any], Any]

#: The version whose shapes the code is written for; webhook endpoints pin the same.
API_VERSION = "2026-10-28.endive"

_CONNECT_SECONDS = 3.0
#: All that one piece of work may wait for Stripe, over all its calls.
BUDGET_SECONDS = 20.0
#: With less than this left there is no point in asking.
_LEAST_SECONDS = 0.1
#: As many objects as Stripe puts on one page of a list.
_PAGE = 100

_deadline: ContextVar[float | None] = ContextVar("stripe_deadline", default=None)


class _Http(stripe.RequestsClient):
    """Gives each request what is left of the budget as its timeout."""

    @property
    def _timeout(self) -> tuple[float, float]:
        left = _seconds_left()
        return min(_CONNECT_SECONDS, left), left

    @_timeout.setter
    def _timeout(self, value: object) -> None:
        """Ignore what the base class sets: time is counted per piece of work."""


def _seconds_left() -> float:
    deadline = _deadline.get()
    return BUDGET_SECONDS if deadline is None else max(0.001, deadline - time.monotonic())


class Transport:
    """Calls Stripe for the gateway.

    `callers` bounds how many pieces of work may wait for Stripe at once in this
    process (None: any number); `retries` are the client's own, with the same key.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        callers: Callers | None = None,
        retries: int = 0,
    ) -> None:
        # The library writes a file into the home directory, and bodies into its debug log.
        stripe.enable_telemetry = False
        logging.getLogger("stripe").setLevel(logging.WARNING)
        addresses: Any = {}
        if base_url is not None:
            addresses = {
                "api": base_url,
                "files": base_url,
                "connect": base_url,
                "meter_events": base_url,
            }
        self._client = stripe.StripeClient(
            api_key,
            stripe_version=API_VERSION,
            max_network_retries=retries,
            http_client=_Http(),
            base_addresses=addresses,
        )
        self._callers = callers

    @contextmanager
    def session(
        self, *, org_id: str | None = None, seconds: float = BUDGET_SECONDS
    ) -> Iterator[None]:
        """Hold a turn and one budget for several calls, on behalf of an organisation.

        Raises Unavailable (503) when no turn comes in time. Inside another session it
        changes nothing.
        """
        if _deadline.get() is not None:
            yield
            return
        if self._callers is not None:
            _let_go_of_connections()  # who waits for a turn holds nothing that others may need
        with self._callers.turn(org_id) if self._callers else nullcontext():
            token = _deadline.set(time.monotonic() + seconds)
            try:
                yield
            finally:
                _deadline.reset(token)

    @contextmanager
    def place(self, *, org_id: str) -> Iterator[None]:
        """Hold a place among those who wait (billing.stripe_gateway.callers).

        Raises Unavailable (503) where none is free.
        """
        with self._callers.place(org_id) if self._callers else nullcontext():
            yield

    def call(self, operation: str, send: Callable[[stripe.StripeClient], Any]) -> Json:
        """Send one request and return its JSON.

        Raises RuntimeError inside a transaction, ApiErrors for all that Stripe says.
        """
        _let_go_of_connections()
        with self.session():
            if _seconds_left() < _LEAST_SECONDS:
                raise Unavailable("The payment provider took too long", retry_after=2)
            began = time.monotonic()
            try:
                answer = send(self._client).last_response
            except stripe.StripeError as error:
                # `from None`: the original can carry the request's body.
                raise translated(error, operation) from None
        logger.info(
            "stripe_call",
            operation=operation,
            stripe_request_id=answer.request_id,
            duration_ms=round((time.monotonic() - began) * 1000),
        )
        data: Json = answer.data
        return data

    def all_of(self, operation: str, params: Json, send: Paged) -> list[Json]:
        """Return all objects of a list, however many pages they are."""
        found: list[Json] = []
        page: Json = {**params, "limit": _PAGE}
        with self.session():
            while True:
                answer = self.call(operation, partial(_send_page, send, page))
                found += answer["data"]
                if not answer["has_more"] or not answer["data"]:
                    return found
                page = {**page, "starting_after": found[-1]["id"]}

    def headers_of(self, send: Callable[[stripe.StripeClient], Any]) -> dict[str, str]:
        """Send one request and return the headers of its answer."""
        _let_go_of_connections()
        with self.session():
            try:
                return dict(send(self._client).last_response.headers)
            except stripe.StripeError as error:
                raise translated(error, "headers") from None


def _send_page(send: Paged, page: Json, client: stripe.StripeClient) -> Any:
    return send(client, page)


def _let_go_of_connections() -> None:
    """Give database connections back: Stripe may take seconds, the pool is small.

    A worker has no pool: its one connection is its own, and making another after each
    call would cost more than the call. Raises RuntimeError where a transaction is
    open: its locks would be held as long.
    """
    for connection in connections.all(initialized_only=True):
        if connection.in_atomic_block:
            raise RuntimeError("Stripe must not be called inside a transaction")
        if settings.PROCESS_ROLE != "worker":
            connection.close()
