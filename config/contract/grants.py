"""Migration operations that take from the application what it never needs to do to a table."""

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


def update_only(table: str, *columns: str, insert: bool = True) -> RunSQL:
    """Let the application's role set `columns` of `table`; neither others nor delete a row.

    `insert` says whether it may add rows.
    """
    revoked = "UPDATE, DELETE, TRUNCATE" + ("" if insert else ", INSERT")
    set_columns = f"GRANT UPDATE ({', '.join(columns)}) ON {table} TO {APP_ROLE}"
    return RunSQL(
        _if_role_is_another(f"REVOKE {revoked} ON {table} FROM {APP_ROLE}; {set_columns}"),
        _if_role_is_another(f"GRANT INSERT, UPDATE, DELETE ON {table} TO {APP_ROLE}"),
    )


def read_only(table: str) -> RunSQL:
    """Let the application's role read `table` and no more."""
    return RunSQL(
        _if_role_is_another(f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {table} FROM {APP_ROLE}"),
        _if_role_is_another(f"GRANT INSERT, UPDATE, DELETE ON {table} TO {APP_ROLE}"),
    )


def _if_role_is_another(statement: str) -> str:
    # Where the application's role migrates, it would shut itself out.
    return _if_role_exists(statement, "rolname <> current_user")


def _if_role_exists(statement: str, also: str = "true") -> str:
    return (
        f"DO $$ BEGIN IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP_ROLE}' AND {also})"
        f" THEN {statement}; END IF; END $$"
    )
