"""The worker and beat processes."""

import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
os.environ.setdefault("PROCESS_ROLE", "worker")

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import setup_logging, task_postrun, task_prerun
from django_structlog.celery.steps import DjangoStructLogInitStep

from config.broker import BrokerConnection


class _Amqp(AMQP):
    Connection = BrokerConnection


app = Celery("metergate", amqp=_Amqp)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.steps["worker"].add(DjangoStructLogInitStep)
app.autodiscover_tasks()


# Celery's own way is to close the connection before and after every task, and a new
# one costs as much as all that a webhook asks of it. Django's way, as between requests:
# one that is broken or older than CONN_MAX_AGE is closed, and it is looked at first.
app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize


@task_prerun.connect
@task_postrun.connect
def close_old_connections(**_: object) -> None:
    """Close what is broken or too old, and let what is kept be looked at before its next use."""
    from django.db import close_old_connections

    close_old_connections()


@setup_logging.connect
def use_django_logging(**_: object) -> None:
    """Log as the web does: one JSON object per line, redacted."""
    import logging.config

    from django.conf import settings

    logging.config.dictConfig(settings.LOGGING)
