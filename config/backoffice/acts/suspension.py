"""Shutting an organisation out, and letting it back in."""

from config.backoffice.acts.base import (
    ORG_PAGES,
    Asked,
    By,
    Change,
    Done,
    Effect,
    Facts,
    OrgAct,
    of_its_org,
)
from config.contract import clock
from config.contract.errors import NotFound
from tokens import families, suspension
from tokens.models import OrgAccess


class Suspend(OrgAct):
    """manage.py suspend_org."""

    name = "suspend-organization"
    title = "Suspend"
    about = (
        "Refuses every token of the organisation from its next request on. Nothing is lost:"
        " restoring lets it go on where it was. The subscription goes on, and is charged."
    )
    group = "Access"
    icon = "block"
    permission = "backoffice.suspend_organization"
    dangerous = True
    rows = {**ORG_PAGES, "tokens.OrgAccess": of_its_org}

    def suits(self, org_id: str) -> bool:
        """Not what is suspended already."""
        return not _is_suspended(org_id)

    def effect(self, asked: Asked) -> Effect:
        """Return the state before and after."""
        row = _row(asked["org_id"])
        live = families.live_families(row.org_id, now=clock.real_now()).count()
        return Effect(
            [
                Change("Access", _state(row), "suspended"),
                Change("Live installations", f"{live} may call", "none may call"),
            ],
            {"suspended": row.suspended_at is not None},
            ["It is suspended already."] if row.suspended_at else [],
            idle=row.suspended_at is not None,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Suspend."""
        suspension.suspend(
            org_id=asked["org_id"], reason=asked["reason"], who=by.who, now=clock.real_now()
        )
        return Done("Suspended. Its tokens are refused from their next request on.")


class Restore(OrgAct):
    """manage.py suspend_org --restore."""

    name = "restore-organization"
    title = "Restore"
    about = "Takes a suspension back. The installations that were not revoked work again at once."
    group = "Access"
    icon = "door_open"
    permission = "backoffice.suspend_organization"
    rows = {**ORG_PAGES, "tokens.OrgAccess": of_its_org}

    def suits(self, org_id: str) -> bool:
        """Only what is suspended."""
        return _is_suspended(org_id)

    def effect(self, asked: Asked) -> Effect:
        """Return the state before and after."""
        row = _row(asked["org_id"])
        return Effect(
            [Change("Access", _state(row), "open")],
            {"suspended": row.suspended_at is not None},
            [] if row.suspended_at else ["It is not suspended."],
            idle=row.suspended_at is None,
        )

    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Let it back in."""
        suspension.restore(
            org_id=asked["org_id"], reason=asked["reason"], who=by.who, now=clock.real_now()
        )
        return Done("Restored. Its installations may call again.")


def _is_suspended(org_id: str) -> bool:
    return OrgAccess.objects.filter(org_id=org_id, suspended_at__isnull=False).exists()


def _row(org_id: str) -> OrgAccess:
    row = OrgAccess.objects.organisations().filter(org_id=org_id).first()
    if row is None:
        raise NotFound("The organisation was never let in")
    return row


def _state(row: OrgAccess) -> str:
    if row.suspended_at is None:
        return "open"
    return f"suspended since {row.suspended_at:%Y-%m-%d %H:%M} ({row.suspended_reason})"
