"""How old the oldest snapshot is that PostgreSQL keeps old rows for.

Every count leaves the counter's former row behind. PostgreSQL removes it once no snapshot
can see it; until then whoever counts steps over all of them, and one snapshot that stays open
(a dump, a replica, a slot, a person) makes the busiest counters slower with every use.
"""

from dataclasses import dataclass

from django.db import connection

#: What lets a role see how old other roles' snapshots are. Without it only our own show.
SEES_ALL = "pg_read_all_stats"

# Rows of other databases are not held up, but for what a replica or a slot keeps. Vacuum's
# own snapshots hold up nothing.
_OLDEST = f"""
SELECT pg_has_role(current_user, '{SEES_ALL}', 'USAGE'), kind,
       max(extract(epoch FROM clock_timestamp() - began_at))::float, max(age(xmin))
  FROM (SELECT CASE backend_type WHEN 'walsender' THEN 'replica' ELSE 'session' END AS kind,
               xact_start AS began_at, backend_xmin AS xmin
          FROM pg_stat_activity
         WHERE pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
           AND (backend_type = 'walsender' OR datname = current_database())
           AND backend_type <> 'autovacuum worker'
        UNION ALL
        SELECT 'slot', NULL, xmin FROM pg_replication_slots WHERE xmin IS NOT NULL
        UNION ALL
        SELECT 'prepared', prepared, transaction FROM pg_prepared_xacts
         WHERE database = current_database()
        UNION ALL
        SELECT NULL, NULL, NULL) AS s
 GROUP BY kind ORDER BY kind NULLS FIRST
"""  # noqa: S608 - constants
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
        cursor.execute(_OLDEST)
        [(sees_all, *_), *rows] = cursor.fetchall()
    return Snapshots(
        tuple(
            OldestSnapshot(kind, None if seconds is None else max(0.0, seconds), transactions)
            for _, kind, seconds, transactions in rows
        ),
        sees_all,
    )
