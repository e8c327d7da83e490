"""Every act there is, and which of them somebody may do."""

from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model
from django.urls import reverse

from config.backoffice.acts import (
    accounts,
    contact,
    installations,
    ledger,
    notifications,
    operators,
    plans,
    quota,
    stripe,
    suspension,
)
from config.backoffice.acts.base import Act, OrgAct

ACTS: dict[str, Act] = {
    act.name: act
    for act in (
        quota.ResetQuota(),
        quota.GrantUnits(),
        ledger.VoidEvent(),
        plans.ChangePlan(),
        plans.KeepPlan(),
        plans.Cancel(),
        plans.Resume(),
        stripe.Resync(),
        stripe.ReplayWebhooks(),
        notifications.ResendNotification(),
        installations.IssueCode(),
        installations.RevokeCode(),
        installations.RevokeInstallation(),
        installations.RevokeAll(),
        contact.ChangeContact(),
        suspension.Suspend(),
        suspension.Restore(),
        operators.CreateOperatorKey(),
        operators.RotateOperatorKey(),
        operators.DropOperatorSecret(),
        operators.RevokeOperatorKey(),
        accounts.RemoveSecondFactor(),
    )
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A link to an act's page, with what its form begins with."""

    name: str
    label: str
    url: str
    permission: str
    group: str
    icon: str
    about: str
    dangerous: bool


def acts_for(user: User | AnonymousUser, org_id: str) -> list[Offer]:
    """Return what `user` may do for an organisation as it stands, in the registry's order."""
    return [
        offer(act, {"org_id": org_id})
        for act in ACTS.values()
        if isinstance(act, OrgAct) and act.open_to(user) and act.suits(org_id)
    ]


def acts_about(user: User | AnonymousUser, row: Model) -> list[Offer]:
    """Return what `user` may do about a row, as it stands."""
    return [
        offer(act, begin)
        for act in ACTS.values()
        if act.open_to(user) and (begin := act.fits(row)) is not None
    ]


def acts_open_to(user: User | AnonymousUser) -> list[Offer]:
    """Return everything that `user` may do."""
    return [offer(act, {}) for act in ACTS.values() if act.open_to(user)]


def offer(act: Act, begin: dict[str, str]) -> Offer:
    """Return the link to an act."""
    url = reverse("act", args=[act.name])
    return Offer(
        name=act.name,
        label=act.title,
        url=f"{url}?{urlencode(begin)}" if begin else url,
        permission=act.permission,
        group=act.group,
        icon=act.icon,
        about=act.about,
        dangerous=act.dangerous,
    )
