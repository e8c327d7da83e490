"""The plan catalogue: a checked data file, loaded into tables, read by everyone."""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from msgspec import Meta

from billing.models import Plan, PlanAllowance, QuotaPeriod
from config.contract import strictjson
from config.contract.errors import MalformedJson
from quotas import catalogue as metrics
from quotas.models import PeriodRule
from quotas.rules import Allowance

FILE = Path(__file__).with_name("plans.json")
TRIAL_PLAN = "starter"
#: Stripe's Checkout wants a trial's end 48 hours ahead, and clocks differ.
SHORTEST_TRIAL = 3

#: What every reader of JSON holds exactly.
_MOST_UNITS = 2**53 - 1
#: Stripe takes at most eight digits.
_MOST_MONEY = 99_999_999
#: Columns of the plan that its price at Stripe has to agree with.
_PRICED_BY = {"amount", "currency", "interval"}

Code = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_-]*\Z")]
MetricCode = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*\Z")]
UnitPrice = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,12})?\Z")]


class MetricEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a plan includes of one metric. `overageUnitAmount` is a decimal in minor units."""

    included_units: Annotated[int, Meta(ge=0, le=_MOST_UNITS)]
    overage: Literal["block", "allow"]
    overage_unit_amount: UnitPrice | None = None

    @property
    def overage_price(self) -> Decimal | None:
        """The price of one unit past the included ones."""
        given = self.overage_unit_amount
        return None if given is None else Decimal(given)


class PlanEntry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True
):
    """One plan of the file. `amount` is in minor units per interval.

    `quotaPeriod` says when the included units are there anew: with each calendar
    month, or with each billing period, which is the plan's interval.
    """

    plan_code: Code
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    amount: Annotated[int, Meta(ge=0, le=_MOST_MONEY)]
    currency: Annotated[str, Meta(pattern=r"^[a-z]{3}\Z")]
    interval: Literal["month", "year"]
    quota_period: Literal["calendar_month", "billing_period"] = "calendar_month"
    trial_days: Annotated[int, Meta(ge=0, le=730)]
    installation_limit: Annotated[int, Meta(ge=1, le=1_000_000)]
    metrics: Annotated[dict[MetricCode, MetricEntry], Meta(min_length=1)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plans: Annotated[list[PlanEntry], Meta(min_length=1)]


def read_file(path: Path = FILE) -> list[PlanEntry]:
    """Read and check the catalogue. Raises ImproperlyConfigured saying what is wrong."""
    try:
        plans = msgspec.convert(strictjson.loads(path.read_bytes()), _File).plans
    except OSError as error:
        raise _wrong(path, f"it cannot be read ({error.strerror})") from error
    except MalformedJson as error:
        raise _wrong(path, "it is not JSON, or has a key twice") from error
    except msgspec.ValidationError as error:
        raise _wrong(path, str(error)) from error
    codes = [plan.plan_code for plan in plans]
    for code in codes:
        if codes.count(code) > 1:
            raise _wrong(path, f"the plan {code} stands twice")
    trial = next((plan for plan in plans if plan.plan_code == TRIAL_PLAN), None)
    if trial is None:
        raise _wrong(path, f"the plan {TRIAL_PLAN} is missing: sign-ups start on it")
    if trial.trial_days < SHORTEST_TRIAL:
        raise _wrong(path, f"the plan {TRIAL_PLAN} needs {SHORTEST_TRIAL} trialDays or more")
    if len({plan.currency for plan in plans}) > 1:
        # Stripe bills a customer in one currency only, and it is chosen at sign-up.
        raise _wrong(path, "the plans are in more than one currency")
    for plan in plans:
        for metric, one in plan.metrics.items():
            if (one.overage == "allow") != (one.overage_price is not None):
                raise _wrong(
                    path,
                    f"{plan.plan_code}.{metric} needs an overageUnitAmount exactly where"
                    " overage is allowed",
                )
    return plans


def _wrong(path: Path, what: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{path.name}: {what}")


def sync(plans: Iterable[PlanEntry], *, dry_run: bool) -> list[str]:
    """Make the tables say what the file says; returns the changes in words.

    Safe to repeat. A plan that left the file is taken off sale and never deleted:
    organisations may be on it.
    """
    entries = {plan.plan_code: plan for plan in plans}
    changes: list[str] = []
    with transaction.atomic():
        with connection.cursor() as cursor:
            # Two at once (two hosts being deployed) would both add the same plan.
            cursor.execute("LOCK TABLE billing_plan IN SHARE ROW EXCLUSIVE MODE")
        held = {plan.code: plan for plan in Plan.objects.all()}
        for code, entry in entries.items():
            changes += _sync_plan(held.get(code), entry)
        for code, plan in held.items():
            if code not in entries and plan.on_sale:
                changes.append(f"{code}: taken off sale")
                plan.on_sale = False
                plan.save(update_fields=["on_sale"])
        metrics.define(sorted({metric for plan in entries.values() for metric in plan.metrics}))
        if dry_run:
            transaction.set_rollback(True)
    return changes


def _sync_plan(held: Plan | None, entry: PlanEntry) -> list[str]:
    wanted: dict[str, Any] = {
        "name": entry.name,
        "amount": entry.amount,
        "currency": entry.currency,
        "interval": entry.interval,
        "quota_period": entry.quota_period,
        "trial_days": entry.trial_days,
        "installation_limit": entry.installation_limit,
        "on_sale": True,
    }
    if held is None:
        plan = Plan.objects.create(code=entry.plan_code, **wanted)
        changes = [f"{entry.plan_code}: added"]
    else:
        plan = held
        changes = [
            f"{plan.code}: {name} {getattr(plan, name)} -> {value}"
            for name, value in wanted.items()
            if getattr(plan, name) != value
        ]
        if any(getattr(plan, name) != wanted[name] for name in _PRICED_BY):
            # Stripe's prices never change: the plan is sold at another one from now on.
            wanted["stripe_price_id"] = ""
        for name, value in wanted.items():
            setattr(plan, name, value)
        if changes:
            plan.save(update_fields=list(wanted))
    return changes + _sync_allowances(plan, entry)


def _sync_allowances(plan: Plan, entry: PlanEntry) -> list[str]:
    changes = []
    held = {allowance.metric: allowance for allowance in plan.metrics.all()}
    for metric, one in entry.metrics.items():
        wanted = (one.included_units, one.overage, one.overage_price)
        known = held.get(metric)
        had = known and (known.included_units, known.overage, known.overage_unit_amount)
        if had == wanted:
            continue
        changes.append(
            f"{plan.code}.{metric}: {_words(*had) if had else 'nothing'} -> {_words(*wanted)}"
        )
        PlanAllowance.objects.update_or_create(
            plan=plan,
            metric=metric,
            defaults={
                "included_units": one.included_units,
                "overage": one.overage,
                "overage_unit_amount": one.overage_price,
            },
        )
    for metric, allowance in held.items():
        if metric not in entry.metrics:
            changes.append(f"{plan.code}.{metric}: removed")
            allowance.delete()
    return changes


def _words(included: int, overage: str, price: Decimal | None) -> str:
    more = "" if price is None else f" at {price.normalize():f}"
    return f"{included} then {overage}{more}"


def allowances_of(plan: Plan, *, quantity: int = 1) -> dict[str, Allowance]:
    """Return what so many of a plan include, as `quotas` takes it."""
    return {
        one.metric: Allowance(min(one.included_units * quantity, _MOST_UNITS), one.overage)
        for one in plan.metrics.all()
    }


def period_rule_of(plan: Plan) -> str:
    """Return how the quota periods of a plan are cut, as `quotas` takes it."""
    if plan.quota_period == QuotaPeriod.CALENDAR_MONTH:
        return PeriodRule.CALENDAR_MONTH
    return PeriodRule.BILLING_YEAR if plan.interval == "year" else PeriodRule.BILLING_MONTH


def on_sale() -> list[Plan]:
    """Return the plans on sale with their allowances, cheapest first."""
    return list(Plan.objects.filter(on_sale=True).prefetch_related("metrics"))
