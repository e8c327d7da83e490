"""A database for the Stripe sandbox beside the caller's own.

Run by the environment's interpreter when DATABASE_URL was given and no
SANDBOX_DATABASE_URL: `python -m config.launcher.sandbox_database`. Prints the URL
to use. It reads the variables, because arguments with passwords show in `ps`.
"""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

SUFFIX = "_sandbox"


def beside(url: str) -> str:
    """The URL of the sandbox's own database, made when the role may; else of a schema.

    Either way its commits are not the platform's: it has connections of its own.
    """
    parts = urlsplit(url)
    with psycopg.connect(url, autocommit=True) as db:
        name = db.info.dbname + SUFFIX
        exists = db.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if not exists:
            try:
                db.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            except psycopg.errors.InsufficientPrivilege:
                schema = "stripe" + SUFFIX
                db.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
                option = "options=" + quote(f"-csearch_path={schema}", safe="")
                query = f"{parts.query}&{option}" if parts.query else option
                return _rebuilt(parts._replace(query=query).geturl())
            except psycopg.errors.DuplicateDatabase:
                pass  # another start was faster
    return _rebuilt(urlunsplit(parts._replace(path="/" + quote(name))))


def _rebuilt(url: str) -> str:
    # urlunsplit drops the empty host of `postgresql:///name`.
    scheme, rest = url.split(":", 1)
    return url if rest.startswith("//") else f"{scheme}://{rest}"


if __name__ == "__main__":
    print(beside(os.environ.get("MIGRATE_DATABASE_URL") or os.environ["DATABASE_URL"]))
