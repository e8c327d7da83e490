"""What there is to compare with: Django views that do one thing and nothing else.

The same server, the same Python, the same Valkey and PostgreSQL; no product.
"""

import os

import django
import environ
import redis
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from psycopg_pool import ConnectionPool

settings.configure(
    SECRET_KEY="bare",  # noqa: S106 - it guards nothing
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    LOGGING_CONFIG=None,
)
django.setup()

_valkey: redis.Redis = redis.Redis.from_url(os.environ["VALKEY_URL"])
_parts = environ.Env.db_url_config(os.environ["MIGRATE_DATABASE_URL"])
_pool = ConnectionPool(
    kwargs={
        "host": _parts["OPTIONS"].get("host") or _parts["HOST"],
        "port": _parts["PORT"] or None,
        "user": _parts["USER"],
        "password": _parts["PASSWORD"] or None,
        "dbname": _parts["NAME"],
        "autocommit": True,
        "prepare_threshold": 0,
    },
    min_size=0,
    max_size=6,
    open=True,
)


def valkey(request: HttpRequest) -> HttpResponse:
    """Read one hash."""
    held = _valkey.hgetall("bench:bare")
    return _json(b'{"ok":true,"fields":%d}' % len(held))


def sql(request: HttpRequest) -> HttpResponse:
    """Insert one row, committed and on disk."""
    with _pool.connection() as lent:
        lent.execute("INSERT INTO bench_bare (body) VALUES (%s)", (request.body.decode(),))
    return _json(b'{"ok":true}')


def _json(body: bytes) -> HttpResponse:
    response = HttpResponse(body, content_type="application/json")
    response.headers["Content-Length"] = str(len(body))
    return response


urlpatterns = [path("valkey", valkey), path("sql", sql)]
application = WSGIHandler()
