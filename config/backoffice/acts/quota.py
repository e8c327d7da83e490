"""Acts on quotas: resetting them, granting and removing units."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldBooleanSwitchWidget

from config.backoffice.acts.base import (
    ORG_PAGES,
    Asked,
    By,
    Change,
    Done,
    Effect,
    Facts,
    OrgAct,
)
from config.backoffice.acts.forms import InstantField, MetricField, OrgActForm
from config.contract import clock
from config.contract.errors import NotFound
from quotas import corrections, queries, resets
from quotas.models import UsageCounter
from quotas.queries import CurrentEntitlement
from quotas.resets import ResetAsked

#: Use that arrives while somebody reads makes a page stale only beyond this share of the limit.
_MAY_GROW = 0.01


class ResetForm(OrgActForm):
    """Which counters."""

    metric = MetricField(every="Every metric")
    force = forms.BooleanField(
        label="Forgive what was used",
        required=False,
        help_text="Without it, only counters that nobody has touched yet are opened.",
        widget=UnfoldBooleanSwitchWidget(),
    )


class ResetQuota(OrgAct):
    """POST /api/admin/quotas/reset, for one organisation."""

    name = "reset-quota"
    title = "Reset quota"
    about = (
        "Takes the use of the current period off the books. The events stay in the ledger,"
        " and can no longer be voided."
    )
    group = "Quota"
    icon = "restart_alt"
    permission = "quotas.reset_usagecounter"
    form = ResetForm
    dangerous = True
    rows = {
        **ORG_PAGES,
        "quotas.UsageCounter": lambda row: _current(row, force="on"),
    }

    def effect(self, asked: Asked) -> Effect:
        """Return the dry run of the very service."""
        now = clock.now()
        touched, overwritten = resets.preview(asked=_reset(asked), now=now)
        found = _entitlement(asked["org_id"])
        changes = []
        for one in overwritten:
            use = found.metrics[one.metric]
            changes += [
                Change(f"{one.metric}: used", f"{one.used:,}", "0"),
                Change(f"{one.metric}: remaining", f"{use.remaining:,}", f"{use.included:,}"),
            ]
        opened = touched - len(overwritten)
        if opened:
            changes.append(Change("Counters of this period", "not open yet", f"{opened} opened"))
        notes = []
        if not touched and not asked["force"]:
            notes.append("Every counter is open already. To take use off the books, forgive it.")
        elif not touched:
            notes.append("Nothing was used in this period, or there is no valid subscription.")
        return Effect(
            changes,
            {
                "period": found.period.key,
                "opened": opened,
                "used": {one.metric: one.used for one in overwritten},
                "included": {one.metric: found.metrics[one.metric].included for one in overwritten},
            },
            notes,
            idle=not touched,
        )

    def still_holds(self, shown: Facts, now: Facts) -> bool:
        """A busy organisation goes on using while somebody reads: a little more is no surprise."""
        if {**shown, "used": 0} != {**now, "used": 0} or shown["used"].keys() != now["used"].keys():
            return False
        return all(
            0 <= now["used"][metric] - was <= max(1, shown["included"][metric] * _MAY_GROW)
            for metric, was in shown["used"].items()
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Reset."""
        touched = resets.reset(asked=_reset(asked), who=by.who, now=clock.now())
        return Done(f"{touched} counter{'s' * (touched != 1)} reset.")


#: More than any plan sells, and far from what the column of a counter holds.
_MOST_UNITS = 10**12


class UnitsForm(OrgActForm):
    """How many units, until when."""

    metric = MetricField()
    units = forms.IntegerField(
        min_value=-_MOST_UNITS,
        max_value=_MOST_UNITS,
        help_text="Negative removes units that were granted or are included.",
        widget=UnfoldAdminIntegerFieldWidget(attrs={"inputmode": "numeric"}),
    )
    expires_at = InstantField(
        label="Until",
        required=False,
        help_text="UTC. Empty: to the end of the current period.",
    )


class GrantUnits(OrgAct):
    """Units on top of, or off, what the plan includes, in the current period."""

    name = "grant-units"
    title = "Grant or remove units"
    about = "Adds units to the current period, or takes some away. The next period is not touched."
    group = "Quota"
    icon = "exposure"
    permission = "quotas.adjust_usagecounter"
    form = UnitsForm
    rows = {**ORG_PAGES, "quotas.UsageCounter": lambda row: _current(row)}

    def effect(self, asked: Asked) -> Effect:
        """Return the limit before and after."""
        found = corrections.preview_adjust(
            org_id=asked["org_id"],
            metric=asked["metric"],
            units=asked["units"],
            expires_at=asked["expires_at"],
            now=clock.now(),
        )
        metric, used = asked["metric"], found.used
        notes = []
        if found.limit_after < used:
            notes.append("More was used already than will be included: the next use is refused.")
        if asked["expires_at"]:
            notes.append(
                f"The units end by themselves, at {asked['expires_at']:%Y-%m-%d %H:%M} UTC."
            )
        return Effect(
            [
                Change(
                    f"{metric}: included in {found.period_key}",
                    f"{found.limit:,}",
                    f"{found.limit_after:,}",
                ),
                Change(
                    f"{metric}: remaining",
                    f"{max(0, found.limit - used):,}",
                    f"{max(0, found.limit_after - used):,}",
                ),
            ],
            {"period": found.period_key, "limit": found.limit},
            notes,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Adjust."""
        counter = corrections.adjust(
            org_id=asked["org_id"],
            metric=asked["metric"],
            units=asked["units"],
            reason=asked["reason"],
            who=by.who,
            now=clock.now(),
            expires_at=asked["expires_at"],
        )
        verb = "granted" if asked["units"] > 0 else "removed"
        return Done(
            f"{abs(asked['units']):,} units of {counter.metric} {verb};"
            f" {counter.remaining:,} remain in {counter.period_key}."
        )


def _reset(asked: Asked) -> ResetAsked:
    return ResetAsked(
        org_ids=(asked["org_id"],),
        metric=asked["metric"] or None,
        force=asked["force"],
        reason=asked["reason"],
    )


def _entitlement(org_id: str) -> CurrentEntitlement:
    found = queries.current_entitlement(org_id=org_id, now=clock.now())
    if found is None:
        raise NotFound("Nothing was ever granted to this organisation")
    return found


def _current(row: UsageCounter, **more: Any) -> dict[str, str] | None:
    # A counter of the past is closed, or about to be: both acts are of the current period.
    if not row.period_start <= clock.now() < row.period_end:
        return None
    return {"org_id": row.org_id, "metric": row.metric, **more}
