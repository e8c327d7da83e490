"""Health, metrics and the smoke test."""

import os
import time
from typing import Any

import msgspec
import structlog
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from rest_framework.request import Request

from config import readiness
from config.contract import metrics
from config.contract.bodies import Answer
from config.contract.context import context_of
from config.contract.openapi import documented
from config.contract.responses import JSON, success
from config.contract.views import ContractViewSet, http
from config.gauges import SnapshotCollector
from webhooks.gauges import InboxCollector

logger = structlog.get_logger("metergate.smoke")


class SmokeAnswer(Answer):
    """It works. The fact that it answered is the answer."""

    ok: bool


class SmokeViewSet(ContractViewSet):
    """GET /api/diag/smoke."""

    @documented(
        summary="Smoke test",
        tag="health",
        answer=SmokeAnswer,
        answer_example={"ok": True},
        public=True,
    )
    def retrieve(self, request: Request) -> HttpResponse:
        """Run a timer, write one log line, raise one counter."""
        started = time.perf_counter()
        metrics.SMOKE.inc()
        context_of(http(request)).logger.info(
            "smoke", milliseconds=round((time.perf_counter() - started) * 1000, 3)
        )
        return success(SmokeAnswer(ok=True))


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return _plain({"ok": True})


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Ready to serve. 503 only without a database to write to or with a migration not applied."""
    failed = readiness.failures()
    if failed:
        return _plain({"ok": False, "failed": list(failed), "reasons": failed}, status=503)
    degraded = list(readiness.degradations())
    return _plain({"ok": True, "degraded": degraded} if degraded else {"ok": True})


@require_safe
def prometheus(request: HttpRequest) -> HttpResponse:
    """What Prometheus scrapes: counts of all processes, the state of inbox and database."""
    counted: CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    looked_up = CollectorRegistry()
    looked_up.register(InboxCollector())
    looked_up.register(SnapshotCollector())
    body = generate_latest(counted) + generate_latest(looked_up)
    return HttpResponse(body, content_type=CONTENT_TYPE_LATEST)


def _plain(body: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(msgspec.json.encode(body), content_type=JSON, status=status)
