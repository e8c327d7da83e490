"""Whether anything was written: a digest of every row of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.db import connection

OURS = ("contract", "tokens", "quotas", "usage", "billing", "webhooks")


def digest() -> dict[str, tuple[int, str]]:
    """Return, for each table of ours, how many rows it has and a hash of them all."""
    tables = sorted(
        model._meta.db_table for label in OURS for model in apps.get_app_config(label).get_models()
    )
    each = (
        f"SELECT '{table}', count(*), md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"  # noqa: S608
        f" FROM {table} t"
        for table in tables
    )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(each))
        return {name: (count, hashed) for name, count, hashed in cursor.fetchall()}


@contextmanager
def nothing_written() -> Iterator[None]:
    """Fail when a row of ours was added, changed or deleted inside the block."""
    before = digest()
    yield
    after = digest()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"written to: {changed}"
