"""The clients a handler may use, typed by what is asked of them.

Each app fills in its own at start (`AppConfig.ready`); a test may swap one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol

from config.contract import clock
from config.contract.copy import OrgCopy


class Clock(Protocol):
    """Tells the instant domain rules count by."""

    def now(self) -> datetime:
        """Return the instant, in UTC."""


class _SystemClock:
    def now(self) -> datetime:
        return clock.now()


class Clients:
    """A registry of named clients, each made when it is first asked for."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], Any]] = {}
        self._made: dict[str, Any] = {}
        self.clock: Clock = _SystemClock()

    def register(self, name: str, maker: Callable[[], Any]) -> None:
        """Say how the client `name` is made."""
        self._makers[name] = maker
        self._made.pop(name, None)

    def get(self, name: str) -> Any:
        """Return the client `name`. Raises KeyError when no app registered it."""
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    @property
    def stripe(self) -> Any:
        """The Stripe gateway (registered by billing)."""
        return self.get("stripe")

    @property
    def copy(self) -> OrgCopy:
        """The fast copy in Valkey."""
        store: OrgCopy = self.get("copy")
        return store

    @contextmanager
    def swapped(self, name: str, client: Any) -> Iterator[None]:
        """Use `client` under `name` inside the block (tests)."""
        before = self._made.get(name)
        self._made[name] = client
        try:
            yield
        finally:
            if before is None:
                self._made.pop(name, None)
            else:
                self._made[name] = before


clients = Clients()
