"""Writing acts down: before, and how they ended."""

from uuid import UUID, uuid4

import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from config.backoffice.acts.base import Act, Asked, Effect
from config.backoffice.models import StaffAct, StaffActEnd
from config.contract import clock
from tokens.principals import StaffPrincipal

logger = structlog.get_logger("metergate.backoffice")
_MOST = 500


def who(user: User) -> str:
    """Return what a member of staff is called in the books, the same as at the API."""
    return str(StaffPrincipal(user))


def begin(act: Act, asked: Asked, effect: Effect, *, uuid: UUID, user: User) -> StaffAct | None:
    """Write down that it is about to be done. None where this confirmation was used before.

    Committed on its own: services commit too, and Stripe is asked outside any
    transaction. A crash leaves an act without an end, for somebody to look at.
    """
    ids = structlog.contextvars.get_contextvars()
    try:
        with transaction.atomic():
            return StaffAct.objects.create(
                uuid=uuid,
                act=act.name,
                org_id=act.org_of(asked),
                who=who(user),
                username=user.get_username(),
                reason=asked["reason"],
                asked={name: _plain(value) for name, value in asked.items() if name != "reason"},
                shown=effect.rows,
                at=clock.real_now(),
                request_id=ids.get("request_id") or "",
                correlation_id=ids.get("correlation_id") or "",
            )
    except IntegrityError:
        return None


def note(*, act: str, user: User, reason: str, asked: dict[str, str]) -> StaffAct:
    """Write down something that changes nothing and needs no confirmation, as it begins."""
    ids = structlog.contextvars.get_contextvars()
    return StaffAct.objects.create(
        uuid=uuid4(),
        act=act,
        who=who(user),
        username=user.get_username(),
        reason=reason[:_MOST],
        asked=asked,
        shown=[],
        at=clock.real_now(),
        request_id=ids.get("request_id") or "",
        correlation_id=ids.get("correlation_id") or "",
    )


def end(row: StaffAct, *, said: str, failed: bool = False) -> None:
    """Write down how it ended."""
    state = StaffActEnd.State.FAILED if failed else StaffActEnd.State.DONE
    StaffActEnd.objects.create(act=row, state=state, said=said[:_MOST], at=clock.real_now())
    logger.info("staff_act", act=row.act, who=row.who, tenant_id=row.org_id, state=str(state))


def of_account(by: User | None, account: User, act: str, reason: str) -> None:
    """Write down what was done to an account, by its owner or (None) at a command line."""
    ids = structlog.contextvars.get_contextvars()
    row = StaffAct.objects.create(
        uuid=uuid4(),
        act=act,
        who=who(by) if by else "command",
        username=by.get_username() if by else "command",
        reason=reason,
        asked={"username": account.get_username()},
        shown=[],
        at=clock.real_now(),
        request_id=ids.get("request_id") or "",
        correlation_id=ids.get("correlation_id") or "",
    )
    end(row, said=f"of {account.get_username()}")


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | str | list | None) else str(value)
