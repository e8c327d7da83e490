"""While Stripe takes its time nobody else waits, and what arrives late does nothing twice."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from config.contract.clients import clients
from tests.billing.breaking import breaking
from tests.billing.kinds import KINDS, Kind
from tests.billing.owners import Owner, new_owner, unfinished
from tests.sandbox.server import Control
from tests.support.callers import room_for
from tests.support.cast import data, error
from tests.support.database import superuser

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
_MANY = 30


def in_a_thread(pool: ThreadPoolExecutor, ask: Any) -> Any:
    """Ask from another thread, whose database connection ends with it."""

    def run() -> Any:
        try:
            return ask()
        finally:
            connections.close_all()

    return pool.submit(run)


def sessions() -> list[str]:
    """Return what each connection of the application is doing."""
    name = str(connection.settings_dict["NAME"])
    connections.close_all()
    with superuser("postgres") as admin:
        rows = admin.execute(
            "SELECT state FROM pg_stat_activity WHERE datname = %s AND usename = %s",
            [name, connection.settings_dict["USER"]],
        ).fetchall()
    return [row[0] for row in rows]


@each_kind
def test_meanwhile_quota_is_checked_and_used_and_nothing_is_held(
    owner: Owner, sandbox: Control, kind: Kind
) -> None:
    kind.prepare(owner)
    bystander = new_owner("Bystander")
    data(bystander.check())
    before = sessions()

    with (
        breaking(sandbox, at=2, how="late", callers=room_for(1)) as wire,
        ThreadPoolExecutor(1) as pool,
    ):
        change = in_a_thread(pool, lambda: kind.ask(owner))
        wire.wait()
        during = sessions()
        allowed, used = data(bystander.check()), data(bystander.use())
        own = owner.check()
        preview = bystander.preview("pro")
        wire.let_through()
        answer = change.result()

    assert during == before
    assert "idle in transaction" not in during
    assert allowed["allow"] is True
    assert used["used"] == 1
    assert own.status_code in (200, 402)  # as its subscription has it
    # The one place is taken: whoever wants Stripe is told to come back at once.
    assert (preview.status_code, error(preview)["code"]) == (503, "UNAVAILABLE")
    assert preview.headers["Retry-After"] == "1"
    assert answer.status_code == 200
    kind.assert_done_once(owner, sandbox)


@pytest.mark.torture
@each_kind
def test_a_request_that_arrives_after_its_repeat_changes_nothing(
    transactional_db: None, sandbox: Control, kind: Kind, full: bool
) -> None:
    method, path = kind.write
    the_write = f"{method} {path.rstrip('*')}"
    for at in range(1, _MANY) if full else (the_write,):
        owner = new_owner()
        kind.prepare(owner)
        with breaking(sandbox, at=at, how="stray") as wire:
            first = kind.ask(owner)
            answer = first if first.status_code == 200 else kind.ask(owner)
            # At the end of this block what was held back is delivered.

        assert first.status_code == (503 if wire.broke else 200)
        assert {name: data(answer)[name] for name in kind.answers} == dict(kind.answers)
        kind.assert_done_once(owner, sandbox)
        if not wire.broke:
            break
    else:
        assert not full, "it makes more requests than that"
    assert unfinished() == 0


def test_a_quota_check_needs_no_answer_of_stripe(owner: Owner, sandbox: Control) -> None:
    sandbox.fault("cut_before", count=-1)

    checked, used = owner.check(), owner.use()
    changed = owner.upgrade("pro")

    assert data(checked)["allow"] is True
    assert data(used)["used"] == 1
    assert changed.status_code == 503


def test_a_change_that_runs_out_of_time_is_503(owner: Owner, sandbox: Control) -> None:
    with breaking(sandbox, at=1, how="late"), clients.stripe.session(seconds=0.2):
        response = owner.upgrade("pro")

    assert (response.status_code, error(response)["code"]) == (503, "UNAVAILABLE")
    assert int(response.headers["Retry-After"]) >= 1
