"""What lies in Valkey, the broker or a session is data, whoever wrote it."""

from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client
from django_redis import get_redis_connection  # type: ignore[import-untyped]

from config.celery import app


def test_what_is_cached_is_written_and_read_as_json() -> None:
    cache = caches["valkey"]
    cache.set("stored-objects", {"a": 1}, 5)

    connection: Any = get_redis_connection("valkey")
    raw: bytes = connection.get(cache.make_key("stored-objects"))

    assert raw == b'{"a": 1}'
    assert cache.get("stored-objects") == {"a": 1}


@pytest.mark.django_db
def test_what_the_admin_remembers_stays_in_the_process() -> None:
    connection: Any = get_redis_connection("valkey")
    before = set(connection.keys("*"))
    client = Client()
    client.force_login(User.objects.create_superuser("root"))

    assert client.get("/admin/search/?s=plan").status_code == 200

    assert not [key for key in set(connection.keys("*")) - before if b"search" in key]


def test_tasks_and_sessions_travel_as_json() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert settings.SESSION_SERIALIZER == "django.contrib.sessions.serializers.JSONSerializer"
