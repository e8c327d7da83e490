"""Catalogue files that tests write, and the command that loads them."""

import copy
import io
import json
from pathlib import Path
from typing import Any

from django.core.management import call_command

from billing import catalogue

SHIPPED: dict[str, Any] = json.loads(catalogue.FILE.read_text())


def plans() -> list[dict[str, Any]]:
    """Return the plans that are shipped, to be changed by a test."""
    copied: list[dict[str, Any]] = copy.deepcopy(SHIPPED["plans"])
    return copied


def write(file: Path, entries: list[dict[str, Any]]) -> Path:
    """Write a catalogue; returns its path."""
    file.write_text(json.dumps({"plans": entries}))
    return file


def sync(file: Path | None = None, *options: str) -> list[str]:
    """Run `manage.py sync_plans` and return the lines it said."""
    out = io.StringIO()
    call_command("sync_plans", *([str(file)] if file else []), *options, stdout=out)
    return out.getvalue().splitlines()
