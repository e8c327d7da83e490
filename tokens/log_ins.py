"""Who tried to log in as staff, from where, and how it ended: one row each."""

import re

import structlog
from django.http import HttpRequest

from config.contract import clock
from tokens.models import StaffLogIn
from tokens.throttles import client_address

logger = structlog.get_logger("metergate.staff")
#: What a text column cannot hold: NUL, and halves of surrogate pairs.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def note(
    request: HttpRequest, outcome: StaffLogIn.Outcome, *, username: str, user_id: int | None = None
) -> None:
    """Write down a log-in, a failure or a lock-out, with the name typed and the address.

    Of a name nothing reaches the logs: people type passwords there by mistake.
    """
    ids = structlog.contextvars.get_contextvars()
    door = StaffLogIn.Door.API if request.path_info.startswith("/api/") else StaffLogIn.Door.PAGE
    StaffLogIn.objects.create(
        at=clock.real_now(),
        outcome=outcome,
        username=_UNSTORABLE.sub("\ufffd", username)[:150],
        address=client_address(request)[:45],
        door=door,
        who=f"staff:{user_id}" if user_id is not None else "",
        request_id=ids.get("request_id") or "",
        correlation_id=ids.get("correlation_id") or "",
    )
    tell = logger.info if outcome == StaffLogIn.Outcome.LOGGED_IN else logger.warning
    tell("staff_log_in", outcome=str(outcome), door=str(door))
