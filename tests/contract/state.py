"""Whether anything was written: a digest of every row of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.apps import apps
from django.db import connection

OURS = ("contract", "tokens", "quotas", "usage", "billing", "webhooks")
#: Each log-in of staff is written down, the refused ones too: it is no effect of a call.
LOG_INS = "tokens_stafflogin"


def digest(*, of: str | None = None) -> dict[str, tuple[int, str]]:
    """Return, for each table of ours, how many rows it has and a hash of them all.

    With `of`, only of the rows that belong to that organisation.
    """
    parts = []
    for model in (model for label in OURS for model in apps.get_app_config(label).get_models()):
        table = model._meta.db_table
        names = {field.name for field in model._meta.get_fields()}
        if table == LOG_INS or (of is not None and "org_id" not in names):
            continue
        where = f" WHERE org_id = '{of}'" if of is not None else ""
        parts.append(
            f"SELECT '{table}', count(*),"  # noqa: S608
            " md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), ''))"
            f" FROM {table} t{where}"
        )
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts))
        return {name: (count, hashed) for name, count, hashed in cursor.fetchall()}


@contextmanager
def nothing_written() -> Iterator[None]:
    """Fail when a row of ours was added, changed or deleted inside the block."""
    before = digest()
    yield
    after = digest()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"written to: {changed}"
