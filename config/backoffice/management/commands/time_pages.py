"""Time every page of the back office against whatever the database holds."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from config.backoffice.roles import OUR_APPS
from usage.models import UsageEvent


class Command(BaseCommand):
    """`manage.py time_pages [--rounds N]`"""

    help = "Print queries and time of each admin page, slowest first; embedded only."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("--rounds", type=int, default=5, help="the median of this many")

    def handle(self, *args: Any, **options: Any) -> None:
        """Open each page as a superuser who is gone afterwards."""
        if not settings.EMBEDDED:
            raise CommandError("This opens every page several times: not in production.")
        settings.ALLOWED_HOSTS = ["*"]
        with transaction.atomic():
            client = Client()
            client.force_login(
                User.objects.create(username="time_pages", is_superuser=True, is_staff=True)
            )
            rows = [self._time(client, *page, options["rounds"]) for page in _pages()]
            transaction.set_rollback(True)
        self.stdout.write(f"{'page':<34}{'queries':>8}{'ms':>8}{'of it SQL':>11}")
        for name, queries, taken, sql in sorted(rows, key=lambda row: -row[2]):
            self.stdout.write(f"{name:<34}{queries:>8}{taken:>8.0f}{sql:>11.0f}")

    def _time(
        self, client: Client, name: str, url: str, posted: dict[str, str] | None, rounds: int
    ) -> tuple[str, int, float, float]:
        taken, sql, queries = [], [], 0
        for _ in range(rounds):
            with CaptureQueriesContext(connection) as captured:
                started = time.perf_counter()
                answer = client.get(url) if posted is None else client.post(url, posted)
                taken.append(1000 * (time.perf_counter() - started))
            if answer.status_code not in (200, 302):
                raise CommandError(f"{url} answered {answer.status_code}")
            queries = len(captured)
            sql.append(1000 * sum(float(query["time"]) for query in captured.captured_queries))
        return name, queries, statistics.median(taken), statistics.median(sql)


def _pages() -> Iterator[tuple[str, str, dict[str, str] | None]]:
    """Yield name, address, and what is posted, of each page."""
    busiest = UsageEvent.objects.order_by("-pk").first()
    yield "dashboard, 30 days", reverse("admin:index"), None
    yield "dashboard, 90 days", reverse("admin:index") + "?days=90", None
    if busiest is not None:
        org = reverse("organisation", args=[busiest.org_id])
        yield "organisation", org, None
        yield "search: organisation", reverse("search"), {"term": busiest.org_id}
        yield "search: request id", reverse("search"), {"term": busiest.request_id}
        yield "search: unknown", reverse("search"), {"term": "nothing-is-known-by-this"}
        events = reverse("admin:usage_usageevent_changelist")
        yield "events of one organisation", f"{events}?q={busiest.org_id}", None
    for model in admin.site._registry:
        if model._meta.app_label in OUR_APPS:
            name = model._meta.label_lower.replace(".", "_")
            yield f"list {model._meta.label}", reverse(f"admin:{name}_changelist"), None
