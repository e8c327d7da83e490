"""Stripe's list of events, read oldest first.

Stripe lists newest first, a page at a time, and pages by the ids of events. From an
event that is known, `ending_before` leads to the ones made after it. The oldest
of a span, with which that has to begin, is found by halving the span until
what lies before its middle fits on one page.
"""

from collections.abc import Sequence
from typing import Any

from billing.stripe_gateway import Gateway, StripeRefused
from config.contract.clients import clients

Json = dict[str, Any]


class Stream:
    """The events of some types in `[since, until)` (Unix seconds), page by page, oldest first.

    `after` is the event that was read last, where reading goes on; `reached` is when it
    was made: what was made before that is read. Not `finished` while there may be more.
    """

    def __init__(
        self, types: Sequence[str], *, since: int, until: int, after: str | None = None
    ) -> None:
        self.types = tuple(types)
        self.reached = since
        self.after = after
        self.finished = since >= until
        self._until = until

    def next_page(self) -> list[Json]:
        """Return the next events; empty where there are none. Raises the gateway's errors."""
        if self.after is None:
            page = self._first_page()
        else:
            try:
                page = self._list(ending_before=self.after)
                self.finished = not page["has_more"]
            except StripeRefused:
                # Stripe forgot that event, or never knew it: what it led to is found by time.
                self.after = None
                page = self._first_page()
        found: list[Json] = page["data"][::-1]
        if found:
            self.after, self.reached = found[-1]["id"], found[-1]["created"]
        if self.finished:
            self.reached = max(self.reached, self._until)
        return found

    def _first_page(self) -> Json:
        """Return the page of the oldest events."""
        # No event was made before `low`; before `high` there are more than a page of them.
        low, high = self.reached, self._until
        page = self._list(since=self.reached)
        if not page["has_more"]:
            self.finished = True
            return page
        while high - low > 1:
            middle = (low + high) // 2
            page = self._list(since=self.reached, until=middle)
            if page["has_more"]:
                high = middle
            elif page["data"]:
                return page
            else:
                low = middle
        # More than a page in one second: down to its end.
        page = self._list(since=low, until=high)
        while page["has_more"]:
            last = page["data"][-1]["id"]
            page = self._list(since=low, until=high, starting_after=last)
        return page

    def _list(self, *, since: int | None = None, until: int | None = None, **cursor: Any) -> Json:
        gateway: Gateway = clients.stripe
        return gateway.list_events(
            types=self.types,
            created_from=since,
            created_to=self._until if until is None else until,
            **cursor,
        )
