"""Migration operations for tables that only ever grow."""

from django.db.migrations import RunSQL

#: The role that web, worker and commands use; `docs/operations.md` makes it.
APP_ROLE = "metergate_app"


def insert_only(table: str, *, but: str | None = None) -> RunSQL:
    """Take UPDATE, DELETE and TRUNCATE on `table` from the application's role.

    `but` names the one column that it may still set. The table's trigger refuses
    the rest to everyone; this keeps the application from getting as far as the trigger.
    """
    revoke = f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {APP_ROLE}"
    if but is not None:
        revoke += f"; GRANT UPDATE ({but}) ON {table} TO {APP_ROLE}"
    return RunSQL(
        _if_role_exists(revoke),
        _if_role_exists(f"GRANT UPDATE, DELETE ON {table} TO {APP_ROLE}"),
    )


def _if_role_exists(statement: str) -> str:
    return (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}')"
        f" THEN {statement}; END IF; END $$"
    )
