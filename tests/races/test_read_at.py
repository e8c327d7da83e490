"""What is read because the copy lacked it counts from before the read, however long that took."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from django.conf import settings
from django.db import connection

from config.contract import clock
from config.contract.clients import clients
from config.contract.copy import OrgCopy
from config.contract.copy_publisher import Field
from quotas import check
from tests.races.interleave import in_thread, wait_until_blocked
from tests.support.cast import Org
from tests.support.database import superuser
from tokens import access

pytestmark = pytest.mark.django_db(transaction=True)


class Witness(OrgCopy):
    """A copy that remembers as of when it was filled."""

    def __init__(self) -> None:
        super().__init__(settings.VALKEY_URL)
        self.filled: list[tuple[float, bool]] = []

    def fill(
        self, org_id: str, fields: Sequence[Field], *, read_at: float, had_copy: bool = False
    ) -> None:
        self.filled.append((read_at, had_copy))
        super().fill(org_id, fields, read_at=read_at, had_copy=had_copy)


@contextmanager
def unreadable(table: str) -> Iterator[None]:
    """Let nobody read a table meanwhile."""
    with superuser(str(connection.settings_dict["NAME"])) as admin, admin.transaction():
        admin.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        yield


@pytest.mark.parametrize("held", [None, {}], ids=["no copy", "a copy without it"])
@pytest.mark.parametrize(
    ("table", "ask"),
    [
        (
            "quotas_usagecounter",
            lambda org, held: check.check(
                org_id=org.id, metric="api_call", value=1, now=clock.now(), held=held
            ),
        ),
        ("tokens_orgaccess", lambda org, held: access.summary(org.id, held)),
    ],
    ids=["check", "access"],
)
def test_what_was_read_counts_from_before_the_read(
    org: Org,
    table: str,
    ask: Callable[[Org, dict[str, bytes] | None], object],
    held: dict[str, bytes] | None,
) -> None:
    clock.now()  # the clock's offset is read by now
    copy = Witness()
    with clients.swapped("copy", copy):
        with unreadable(table):
            asking = in_thread(lambda: ask(org, held))
            wait_until_blocked()
            before_the_read = time.monotonic()
        asking.result(5)

        [(read_at, had_copy)] = copy.filled
    assert read_at < before_the_read
    assert had_copy == (held is not None)
