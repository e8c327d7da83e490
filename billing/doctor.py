"""Is Stripe set up as we need it? Looks at everything, live or sandbox, and changes nothing."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from urllib.parse import urlsplit

from django.conf import settings

from billing import catalogue
from billing.models import Plan, PlanAllowance, Subscription
from billing.payments import PORTAL_NAME
from billing.prices import overage_key
from billing.stripe_gateway import API_VERSION, Gateway, Json
from config.contract import clock
from config.contract.clients import clients
from config.contract.errors import ApiError, InternalError
from quotas.models import Overage

#: What webhooks/handlers.py works on; a test holds the two together.
EVENTS = frozenset(
    {
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.expired",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.pending_update_applied",
        "customer.subscription.pending_update_expired",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "customer.subscription.updated",
        "customer.updated",
        "invoice.finalized",
        "invoice.marked_uncollectible",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.voided",
        "setup_intent.succeeded",
        "subscription_schedule.aborted",
        "subscription_schedule.canceled",
        "subscription_schedule.completed",
        "subscription_schedule.created",
        "subscription_schedule.expiring",
        "subscription_schedule.released",
        "subscription_schedule.updated",
    }
)
WEBHOOK_PATH = "/api/webhooks/stripe"
#: Signatures are good for five minutes: a clock this wrong has used up a fifth of them.
MOST_SKEW = timedelta(seconds=60)
_LIVE_KEYS = ("sk_live_", "rk_live_")
_TEST_KEYS = ("sk_test_", "rk_test_")
#: So many organisations are named in one line.
_MOST_NAMED = 20
#: Stripe looks up this many prices at once.
_LOOKUPS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `detail` says what is there, and what is wrong with it."""

    what: str
    ok: bool
    detail: str


def examine(
    *, handled: Collection[str] = EVENTS, real_now: Callable[[], datetime] = clock.real_now
) -> list[Finding]:
    """Return what was found, in the order to mend it. Holds no secret.

    `handled` are the event types our endpoint must be sent. An error of Stripe's
    is a finding, not an exception.
    """
    found = [*_mode(), *_secrets()]
    gateway: Gateway = clients.stripe
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("key", lambda: _key(gateway)),
        ("clock", lambda: _clock(gateway, real_now)),
        ("webhook endpoint", lambda: _endpoints(gateway, frozenset(handled))),
        ("prices", lambda: _prices(gateway)),
        ("overage prices", lambda: _overages(gateway)),
        ("portal", lambda: _portal(gateway)),
        ("paid twice", _paid_twice),
    ]
    for what, look in looks:
        try:
            found += list(look())
        except ApiError as error:
            found.append(Finding(what, False, _said(error)))
    return found


def _said(error: ApiError) -> str:
    if isinstance(error, InternalError):
        return "Stripe refuses the key"
    return f"could not be looked at: {error.message} ({error.code})"


def _mode() -> Iterator[Finding]:
    where = settings.STRIPE_BASE_URL or "https://api.stripe.com"
    is_live_key = settings.STRIPE_API_KEY.startswith(_LIVE_KEYS)
    is_known = is_live_key or settings.STRIPE_API_KEY.startswith(_TEST_KEYS)
    sandbox = settings.STRIPE_MODE == "sandbox"
    yield Finding("mode", True, f"{settings.STRIPE_MODE}, {where}")
    if sandbox and is_live_key:
        yield Finding("key's mode", False, "a live key has no business in the sandbox")
    elif is_known:
        charges = "charges real money" if is_live_key else "test mode: charges nobody"
        yield Finding("key's mode", True, charges)
    else:
        yield Finding("key's mode", sandbox, "neither a live nor a test key of Stripe's")


def _secrets() -> Iterator[Finding]:
    secrets = settings.STRIPE_WEBHOOK_SECRETS
    odd = [number for number, one in enumerate(secrets, 1) if not one.startswith("whsec_")]
    if not secrets:
        yield Finding("webhook secrets", False, "STRIPE_WEBHOOK_SECRETS is empty")
    elif odd:
        numbers = ", ".join(map(str, odd))
        yield Finding("webhook secrets", False, f"number {numbers} does not begin with whsec_")
    else:
        yield Finding("webhook secrets", True, f"{len(secrets)}, any of which may sign")


def _key(gateway: Gateway) -> Iterator[Finding]:
    gateway.list_products()
    yield Finding("key", True, "accepted")


def _clock(gateway: Gateway, real_now: Callable[[], datetime]) -> Iterator[Finding]:
    skew = real_now() - gateway.server_time()
    seconds = round(skew.total_seconds())
    yield Finding("clock", abs(skew) <= MOST_SKEW, f"{seconds:+d} s against Stripe's")


def _endpoints(gateway: Gateway, handled: frozenset[str]) -> Iterator[Finding]:
    ours = [
        one
        for one in gateway.list_webhook_endpoints()
        if urlsplit(one["url"]).path.rstrip("/") == WEBHOOK_PATH
    ]
    if not ours:
        yield Finding("webhook endpoint", False, f"none with the path {WEBHOOK_PATH}")
    for one in ours:
        what = f"webhook endpoint {one['url']}"
        yield Finding(what, one["status"] == "enabled", one["status"])
        # Without a version of its own it follows the account's default, which others change.
        version = one["api_version"] or "the account's default"
        pinned = version == API_VERSION
        told = version if pinned else f"{version}, not {API_VERSION}"
        yield Finding(f"{what}: version", pinned, told)
        missing = handled - set(one["enabled_events"])
        complete = not missing or "*" in one["enabled_events"]
        named = ", ".join(sorted(missing))
        yield Finding(f"{what}: events", complete, "all" if complete else f"missing: {named}")


def _prices(gateway: Gateway) -> Iterator[Finding]:
    plans = catalogue.on_sale()
    if not plans:
        yield Finding("prices", False, "no plan is on sale: run sync_plans")
    at_stripe = _by_lookup_key(gateway, [plan.code for plan in plans])
    for plan in plans:
        price = at_stripe.get(plan.code)
        faults = ["no active price has this lookup key"] if price is None else []
        if price is not None:
            faults = [*_wrong(price, plan), *_wrong_amount(price, Decimal(plan.amount))]
            if plan.stripe_price_id not in ("", price["id"]):
                faults.append(f"{plan.stripe_price_id} is still sold here")
        yield _priced(f"price {plan.code}", price, faults)


def _overages(gateway: Gateway) -> Iterator[Finding]:
    allowed = PlanAllowance.objects.filter(plan__on_sale=True, overage=Overage.ALLOW)
    rows = sorted(allowed.select_related("plan"), key=lambda one: (one.plan.rank, one.metric))
    at_stripe = _by_lookup_key(gateway, [_lookup_key(one) for one in rows])
    meters = {one["id"]: one["event_name"] for one in gateway.list_meters()} if rows else {}
    for one in rows:
        price = at_stripe.get(_lookup_key(one))
        faults = ["no active price has this lookup key"] if price is None else []
        if price is not None:
            faults = _wrong(price, one.plan, usage="metered")
            faults += _wrong_amount(price, one.overage_unit_amount or Decimal(0))
            event = meters.get((price["recurring"] or {}).get("meter"))
            if event != one.metric:
                faults.append(f"its meter counts {event or 'nothing'}, not {one.metric}")
        yield _priced(f"price {_lookup_key(one)}", price, faults)


def _lookup_key(one: PlanAllowance) -> str:
    return overage_key(one.plan.code, one.metric)


def _by_lookup_key(gateway: Gateway, keys: list[str]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for start in range(0, len(keys), _LOOKUPS):
        some = gateway.list_prices(lookup_keys=keys[start : start + _LOOKUPS])
        found |= {one["lookup_key"]: one for one in some}
    return found


def _wrong(price: Json, plan: Plan, *, usage: str = "licensed") -> list[str]:
    faults = []
    if price["currency"] != plan.currency:
        faults.append(f"currency {price['currency']}, not {plan.currency}")
    if price["livemode"] != settings.STRIPE_API_KEY.startswith(_LIVE_KEYS):
        faults.append("of the other mode")
    recurring = price["recurring"]
    if not recurring:
        return [*faults, "not recurring"]
    every = (recurring["interval_count"], recurring["interval"])
    if every != (1, plan.interval):
        faults.append(f"every {every[0]} {every[1]}, not every {plan.interval}")
    if recurring["usage_type"] != usage:
        faults.append(f"{recurring['usage_type']}, not {usage}")
    return faults


def _wrong_amount(price: Json, wanted: Decimal) -> list[str]:
    amount = price["unit_amount_decimal"] or price["unit_amount"]
    if amount is None or Decimal(amount) != wanted:
        return [f"amount {amount}, not {wanted.normalize():f}"]
    return []


def _priced(what: str, price: Json | None, faults: list[str]) -> Finding:
    named = [price["id"]] if price else []
    return Finding(what, not faults, "; ".join([*named, *faults]))


def _portal(gateway: Gateway) -> Iterator[Finding]:
    ours = [one for one in gateway.list_portal_configurations() if one["name"] == PORTAL_NAME]
    if not ours:
        yield Finding("portal", True, "its configuration is made when it is first opened")
        return
    features = ours[0]["features"]
    faults = []
    if not features["payment_method_update"]["enabled"]:
        faults.append("cards cannot be changed")
    if features["subscription_update"]["enabled"]:
        faults.append("plans can be changed past us")
    yield Finding("portal", not faults, "; ".join([ours[0]["id"], *faults]))


def _paid_twice() -> Iterator[Finding]:
    """Name the organisations that pay for more than one subscription: one of them grants."""
    several = list(Subscription.objects.paid_twice(now=clock.now()))
    named = "; ".join(map(str, several[:_MOST_NAMED]))
    more = f"; and {len(several) - _MOST_NAMED} more" if len(several) > _MOST_NAMED else ""
    yield Finding("paid twice", not several, f"{named}{more}" if several else "nobody")
