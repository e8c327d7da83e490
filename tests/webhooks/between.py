"""A slow network: something happens between Stripe's answer and its arrival."""

from collections.abc import Callable
from typing import Any

from billing.stripe_gateway import StripeGateway


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it, as nothing catches SIGKILL."""


class Between:
    """The gateway, one of whose `method` calls arrives only after `happens` has run.

    It is the first one, or the one that follows `after` others.
    """

    def __init__(
        self,
        gateway: StripeGateway,
        method: str,
        happens: Callable[[], None],
        *,
        after: int = 0,
    ) -> None:
        self._gateway = gateway
        self._method = method
        self._happens = happens
        self._left = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._gateway, name)
        if name != self._method:
            return real

        def late(**arguments: Any) -> Any:
            answer = real(**arguments)
            self._left -= 1
            if self._left == -1:
                self._happens()
            return answer

        return late


class Stale:
    """The gateway, which answers every `method` call with what it was told once."""

    def __init__(self, gateway: StripeGateway, method: str, answer: Any) -> None:
        self._gateway = gateway
        self._method = method
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        if name != self._method:
            return getattr(self._gateway, name)
        return lambda **_: self._answer
