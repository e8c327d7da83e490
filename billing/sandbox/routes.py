"""An operation of Stripe's API: its path, its typed parameters, who answers it."""

import re
from collections.abc import Callable, Set
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


#: The same for members of nested parameters; a name not here is acted on as a whole.
_SUPPORTED_INSIDE = {
    "items": "id price quantity deleted metadata discounts tax_rates billing_thresholds",
    "line_items": "price quantity",
    "phases": "items start_date end_date duration proration_behavior metadata trial_end"
    " billing_cycle_anchor currency application_fee_percent automatic_tax billing_thresholds"
    " collection_method default_payment_method default_tax_rates description discounts"
    " invoice_settings on_behalf_of transfer_data",
    "subscription_data": "trial_end trial_period_days trial_settings metadata description"
    " billing_mode",
    "subscription_details": "items proration_behavior proration_date trial_end"
    " billing_cycle_anchor cancel_at_period_end cancel_at trial_settings billing_mode"
    " default_tax_rates",
    "invoice_settings": "default_payment_method account_tax_ids custom_fields days_until_due"
    " description footer issuer",
    "default_settings": "default_payment_method",
    "evidence": "uncategorized_text",
    "payment_settings": "save_default_payment_method",
}


def unsupported(params: dict[str, Any], supported: Set[str], path: str = "") -> str | None:
    """Return the first parameter that the sandbox would ignore, or None."""
    for name, value in params.items():
        where = f"{path}[{name}]" if path else name
        if name not in supported:
            return where
        if name not in _SUPPORTED_INSIDE:
            continue
        inside = frozenset(_SUPPORTED_INSIDE[name].split())
        for number, one in enumerate(value if isinstance(value, list) else [value]):
            below = f"{where}[{number}]" if isinstance(value, list) else where
            found = unsupported(one, inside, below) if isinstance(one, dict) else None
            if found:
                return found
    return None


def route(
    call: str, params: str, handler: Handler, supports: str = "", kind: str | None = None
) -> Route:
    method, _, path = call.partition(" ")
    return Route(method, f"/v1/{path}", params, handler, supports, kind)
