"""How old the oldest snapshot is that PostgreSQL keeps old rows for.

Every count leaves the counter's former row behind. PostgreSQL removes it once no snapshot
can see it; until then whoever counts steps over all of them, and one snapshot that stays open
(a dump, a replica, a slot, a person) makes the busiest counters slower with every use.
"""

from dataclasses import dataclass

from django.db import connection

#: What lets the schema's owner see how old other roles' snapshots are. The application asks
#: by a function of the owner's: it sees ages and nothing else of other sessions.
SEES_ALL = "pg_read_all_stats"

KINDS = ("session", "replica", "slot", "prepared")


@dataclass(frozen=True, slots=True)
class OldestSnapshot:
    """The oldest of one kind. PostgreSQL knows no time of what replicas and slots hold.

    `transactions` counts how many began since, anywhere in the cluster.
    """

    kind: str
    seconds: float | None
    transactions: int


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The oldest snapshot of each kind there is, and whether other roles' were seen."""

    oldest: tuple[OldestSnapshot, ...]
    sees_all: bool


def oldest_snapshots() -> Snapshots:
    """Return the oldest snapshot of each kind. One query; sessions of our own count too."""
    with connection.cursor() as cursor:
        # Its first row says what is seen, and is of no kind.
        cursor.execute("SELECT * FROM contract_oldest_snapshots()")
        [(sees_all, *_), *rows] = cursor.fetchall()
    return Snapshots(
        tuple(
            OldestSnapshot(kind, None if seconds is None else max(0.0, seconds), transactions)
            for _, kind, seconds, transactions in rows
        ),
        sees_all,
    )
