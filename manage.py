#!/usr/bin/env python
"""Operators' commands. `python manage.py help` lists them."""

import os
import sys

#: Commands that change tables need the role that may.
DDL_COMMANDS = {"migrate", "makemigrations", "sqlmigrate", "showmigrations", "pgtrigger"}


def main() -> None:
    """Run one command under the role it needs."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("PROCESS_ROLE", "command")
    owner = os.environ.get("MIGRATE_DATABASE_URL")
    if owner and len(sys.argv) > 1 and sys.argv[1] in DDL_COMMANDS:
        os.environ["DATABASE_URL"] = owner
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
