"""Catalogue files that tests write, and the command that loads them."""

import copy
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management import call_command

from billing import catalogue
from billing.models import Plan

SHIPPED: dict[str, Any] = json.loads(catalogue.FILE.read_text())
#: Paid by the year, two months of it free: less a month than the monthly plan, but more at once.
PRO_ANNUAL, BUSINESS_ANNUAL = 99_000, 499_000


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


def annual() -> list[dict[str, Any]]:
    """Return the shipped plans, and pro and business (with its overage) by the year."""
    shipped = plans()
    by_the_year = {"pro": PRO_ANNUAL, "business": BUSINESS_ANNUAL}
    return shipped + [
        {**plan, "planCode": f"{code}_annual", "interval": "year", "amount": by_the_year[code]}
        for plan in plans()
        if (code := plan["planCode"]) in by_the_year
    ]


@contextmanager
def selling(file: Path, entries: list[dict[str, Any]]) -> Iterator[None]:
    """Sell these plans here and at Stripe; leave the catalogue as it was found."""
    sync(write(file, entries), "--stripe")
    try:
        yield
    finally:
        Plan.objects.exclude(code__in=[plan["planCode"] for plan in SHIPPED["plans"]]).delete()
        sync()
