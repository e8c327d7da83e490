"""An operation of Stripe's API: its path, its typed parameters, who answers it."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from billing.sandbox.params import fields_of, typed_params
from billing.sandbox.shapes import Obj
from billing.sandbox.store import Store

Handler = Callable[[Store, dict[str, Any], dict[str, str]], Obj]


@dataclass(frozen=True)
class Route:
    """One operation of Stripe's API."""

    method: str
    path: str
    #: Where `stripe.params` has its parameters: `customer_create`, `checkout.session_create`.
    params: str
    handler: Handler
    supports: str = ""
    #: Kind of the object `{id}` names; its customer is locked for the request.
    kind: str | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as an expression."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path) + "$")

    @cached_property
    def typed(self) -> type:
        """The TypedDict of the installed package."""
        package, dot, name = self.params.rpartition(".")
        camel = "".join(word.capitalize() for word in name.split("_"))
        return typed_params(f"{package}{dot}_{name}_params", f"{camel}Params")

    @cached_property
    def supported(self) -> frozenset[str]:
        """Names of the parameters acted on; `expand` always is."""
        return frozenset(self.supports.split()) | {"expand"} & fields_of(self.typed).keys()


def route(
    call: str, params: str, handler: Handler, supports: str = "", kind: str | None = None
) -> Route:
    method, _, path = call.partition(" ")
    return Route(method, f"/v1/{path}", params, handler, supports, kind)
