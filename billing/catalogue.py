"""The plan catalogue: a checked data file, loaded into tables, read by everyone."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from msgspec import Meta

from billing.models import Plan, PlanAllowance
from quotas import catalogue as metrics
from quotas.rules import Allowance

FILE = Path(__file__).with_name("plans.json")
TRIAL_PLAN = "starter"

Code = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[a-z][a-z0-9_-]*$")]
MetricCode = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]


class MetricEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What a plan includes of one metric. `overageUnitAmount` is a decimal in minor units."""

    included_units: Annotated[int, Meta(ge=0)]
    overage: Literal["block", "allow"]
    overage_unit_amount: str | None = None

    @property
    def overage_price(self) -> Decimal | None:
        """The price of one unit past the included ones."""
        return Decimal(self.overage_unit_amount) if self.overage_unit_amount else None


class PlanEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One plan of the file. `amount` is in minor units per interval."""

    plan_code: Code
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    amount: Annotated[int, Meta(ge=0)]
    currency: Annotated[str, Meta(pattern=r"^[a-z]{3}$")]
    interval: Literal["month", "year"]
    trial_days: Annotated[int, Meta(ge=0, le=730)]
    installation_limit: Annotated[int, Meta(ge=1)]
    metrics: dict[MetricCode, MetricEntry]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    plans: Annotated[list[PlanEntry], Meta(min_length=1)]


def read_file(path: Path = FILE) -> list[PlanEntry]:
    """Read and check the catalogue. Raises ImproperlyConfigured saying what is wrong."""
    try:
        plans = msgspec.json.decode(path.read_bytes(), type=_File).plans
        prices = [one.overage_price for plan in plans for one in plan.metrics.values()]
    except (OSError, msgspec.MsgspecError, InvalidOperation) as error:
        raise ImproperlyConfigured(f"{path.name}: {error}") from error
    codes = [plan.plan_code for plan in plans]
    if len(set(codes)) != len(codes):
        raise ImproperlyConfigured(f"{path.name}: a plan code stands twice")
    if TRIAL_PLAN not in codes:
        raise ImproperlyConfigured(f"{path.name}: the plan {TRIAL_PLAN} is missing")
    if any(price is not None and price < 0 for price in prices):
        raise ImproperlyConfigured(f"{path.name}: a price is negative")
    for plan in plans:
        for metric, one in plan.metrics.items():
            if (one.overage == "allow") != (one.overage_price is not None):
                raise ImproperlyConfigured(
                    f"{path.name}: {plan.plan_code}.{metric} needs a price exactly where"
                    " overage is allowed"
                )
    return plans


def sync(plans: Iterable[PlanEntry], *, dry_run: bool) -> list[str]:
    """Make the tables say what the file says; returns the changes in words.

    Safe to repeat. A plan that left the file is taken off sale and never deleted:
    organisations may be on it.
    """
    entries = {plan.plan_code: plan for plan in plans}
    changes: list[str] = []
    with transaction.atomic():
        held = {plan.code: plan for plan in Plan.objects.select_for_update()}
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
        changes.append(f"{plan.code}.{metric}: {had or 'nothing'} -> {wanted}")
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


def allowances_of(plan: Plan) -> dict[str, Allowance]:
    """Return what a plan includes, as `quotas` takes it."""
    return {one.metric: Allowance(one.included_units, one.overage) for one in plan.metrics.all()}


def on_sale() -> list[Plan]:
    """Return the plans on sale with their allowances, cheapest first."""
    return list(Plan.objects.filter(on_sale=True).prefetch_related("metrics"))
