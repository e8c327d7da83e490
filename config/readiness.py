"""What a machine or a person is told of the parts that requests and workers need."""

from typing import Any

import structlog
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.exceptions import ResponseError

from config.celery import app as celery_app
from config.contract import clock
from config.contract.clients import clients
from webhooks import progress

logger = structlog.get_logger("metergate.readiness")
_migrated = False


def failures() -> dict[str, str]:
    """Return what keeps requests from being answered rightly, and how, as ends of sentences."""
    global _migrated
    try:
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            if cursor.fetchone() != ("off",):
                return {"database": "is read-only"}
        if not _migrated:
            executor = MigrationExecutor(connection)
            if executor.migration_plan(executor.loader.graph.leaf_nodes()):
                return {"migrations": "are not applied"}
            _migrated = True
    except (DatabaseError, InterfaceError) as error:
        logger.warning("database_away", error=type(error).__name__)
        return {"database": "does not answer"}
    return {}


def degradations() -> dict[str, str]:
    """Return what is away or stuck though requests are still answered rightly, and how."""
    found = {
        "valkey": clients.copy.trouble(),
        "broker": broker_trouble(),
        "worker": progress.trouble(now=clock.real_now()),
    }
    return {name: trouble for name, trouble in found.items() if trouble}


def broker_trouble() -> str:
    """Return what is wrong with the broker; nothing where it takes messages."""
    try:
        with celery_app.connection_for_write(connect_timeout=0.2) as broker:
            broker.ensure_connection(max_retries=1, timeout=1)
            client: Any = getattr(broker.default_channel, "client", None)
            if client is not None:  # a transport of Valkey's
                client.set("probe", "", px=1000)
    except ResponseError:
        return "refuses writes"
    except Exception:  # noqa: BLE001 - kombu raises whatever its transport does
        return "does not answer"
    return ""
