"""Migration operations that change the indexes of a table that is being written to."""

from django.db import migrations, models

# Building an index in the background waits for every transaction that is older, and the
# settings' lock_timeout would end it there. It blocks nobody while it waits.
_WAIT = "SET lock_timeout = 0"
_WAIT_NO_MORE = "RESET lock_timeout"


def add_index_at_work(
    model: str, table: str, index: models.Index
) -> migrations.SeparateDatabaseAndState:
    """Add an index of plain columns without blocking writers. The migration is not atomic.

    A run that was cut off leaves an invalid index behind: running again replaces it.
    """
    columns = ", ".join(index.fields)
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
    create = f"CREATE INDEX CONCURRENTLY {index.name} ON {table} ({columns})"
    return migrations.SeparateDatabaseAndState(
        state_operations=[migrations.AddIndex(model_name=model, index=index)],
        database_operations=[
            migrations.RunSQL([_WAIT, drop, create, _WAIT_NO_MORE], [_WAIT, drop, _WAIT_NO_MORE])
        ],
    )


def remove_index_at_work(
    model: str, table: str, index: models.Index
) -> migrations.SeparateDatabaseAndState:
    """Remove an index of plain columns without blocking writers; see `add_index_at_work`."""
    columns = ", ".join(index.fields)
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}"
    create = f"CREATE INDEX CONCURRENTLY {index.name} ON {table} ({columns})"
    return migrations.SeparateDatabaseAndState(
        state_operations=[migrations.RemoveIndex(model_name=model, name=index.name)],
        database_operations=[
            migrations.RunSQL([_WAIT, drop, _WAIT_NO_MORE], [_WAIT, drop, create, _WAIT_NO_MORE])
        ],
    )
