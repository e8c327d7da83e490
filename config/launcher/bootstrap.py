"""Roles, databases and privileges of our own cluster. Safe to run at every start.

Run by the environment's interpreter (it needs psycopg) as the cluster's superuser:
`python -m config.launcher.bootstrap <socket folder> [--test]`.
"""

from __future__ import annotations

import sys

import psycopg
from psycopg import sql

# Who may do what, from the first day: the owner changes the schema, the application
# only works with rows, and the sandbox cannot see either's database.
OWNER = "metergate_owner"
APP = "metergate_app"
SANDBOX = "metergate_sandbox"
DATABASE_OWNERS = {"metergate": OWNER, "metergate_sandbox": SANDBOX}

# Default privileges belong to a database and are copied with a template, so writing
# them into template1 covers every test database as well. Migrations take UPDATE and
# DELETE on ledger tables away again, table by table.
IN_EACH_DATABASE = f"""
CREATE EXTENSION IF NOT EXISTS btree_gist;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {APP};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APP};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public
    GRANT USAGE ON SEQUENCES TO {APP};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} IN SCHEMA public
    GRANT EXECUTE ON FUNCTIONS TO {APP};
"""


def connect(sockets: str, database: str) -> psycopg.Connection:
    return psycopg.connect(host=sockets, user="postgres", dbname=database, autocommit=True)


def bootstrap(sockets: str, *, for_tests: bool) -> None:
    with connect(sockets, "postgres") as db:
        for role in (OWNER, APP, SANDBOX):
            if not db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                db.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        # So that its function sees how old other roles' snapshots are: a dump's, a replica's.
        db.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(sql.Identifier(OWNER)))
        if for_tests:
            db.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(OWNER)))
    # Before the databases are made, so that they inherit it.
    with connect(sockets, "template1") as db:
        db.execute(IN_EACH_DATABASE)
    for name, owner in DATABASE_OWNERS.items():
        _create_database(sockets, name, owner)
    with connect(sockets, "metergate") as db:
        db.execute(IN_EACH_DATABASE)


def _create_database(sockets: str, name: str, owner: str) -> None:
    with connect(sockets, "postgres") as db:
        if db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
            return
        ids = {"name": sql.Identifier(name), "owner": sql.Identifier(owner)}
        db.execute(sql.SQL("CREATE DATABASE {name} OWNER {owner}").format(**ids))
        db.execute(sql.SQL("REVOKE CONNECT ON DATABASE {name} FROM PUBLIC").format(**ids))
        db.execute(sql.SQL("GRANT CONNECT ON DATABASE {name} TO {owner}").format(**ids))
        if owner == OWNER:
            app = sql.Identifier(APP)
            db.execute(
                sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {app}").format(
                    app=app, **ids
                )
            )


if __name__ == "__main__":
    bootstrap(sys.argv[1], for_tests="--test" in sys.argv[2:])
