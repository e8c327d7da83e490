"""What pages may load: from here alone, and scripts from files alone."""

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from tests.backoffice.test_pages import page
from usage.models import UsageEvent
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db
Staff = Callable[[str], Client]


def policy(response: Any) -> dict[str, set[str]]:
    header = response.headers["Content-Security-Policy"]
    parts = [part.split() for part in header.split(";")]
    return {part[0]: set(part[1:]) for part in parts}


def addresses(html: str) -> set[str]:
    """Return what a browser loads by itself."""
    tags = re.findall(r"<(?:script|link|img)\b[^>]*>", html)
    return {found[1] for tag in tags if (found := re.search(r'\b(?:src|href)="([^"]+)"', tag))}


def status(client: Client, url: str) -> int:
    response = client.get(url)
    list(response)  # the file is closed with its end
    return response.status_code


@pytest.mark.parametrize("path", ["/healthz", "/api/diag/smoke", "/api/nowhere", "/nowhere"])
def test_everywhere_else_the_policy_is_strict(client: Client, path: str) -> None:
    header = policy(client.get(path))

    assert header["default-src"] == {"'none'"}
    assert header["frame-ancestors"] == {"'none'"}
    assert header["script-src"] == header["style-src"] == {"'self'"}


def test_only_the_admin_may_evaluate(staff: Staff, client: Client) -> None:
    inside = policy(staff("auditor").get("/admin/"))

    assert inside["script-src"] == {"'self'", "'unsafe-eval'"}
    assert policy(client.get("/admin/login/"))["script-src"] == inside["script-src"]
    assert policy(client.get("/api/docs"))["script-src"] == {"'self'"}


def test_no_policy_names_another_host_or_allows_scripts_in_pages(client: Client) -> None:
    for path in ("/admin/login/", "/api/docs", "/healthz"):
        header = policy(client.get(path))

        assert set().union(*header.values()) <= {
            "'none'",
            "'self'",
            "'unsafe-eval'",
            "'unsafe-inline'",
            "data:",
        }
        assert "'unsafe-inline'" not in header["script-src"]


@pytest.mark.usefixtures("one_of_each")
def test_whatever_a_page_loads_is_here(staff: Staff) -> None:
    client = staff("superuser")
    event = WebhookEvent.objects.get()

    for path in (
        "/admin/",
        page(UsageEvent, "changelist"),
        page(WebhookEvent, "change", event.pk),
        "/admin/auth/user/add/",
        "/admin/auth/group/add/",
        "/admin/password_change/",
        "/api/docs",
    ):
        html = client.get(path).content.decode()
        loaded = addresses(html)

        assert loaded
        for url in loaded:
            assert url.startswith(("/static/", "/admin/", "/api/docs?")), url
            assert status(client, url) == 200, url
        assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>\s*\S", html), path
        assert not re.search(r"<[^>]+\son(?:click|change|submit|load)=", html), path


def test_the_log_in_page_has_its_assets(client: Client) -> None:
    loaded = addresses(client.get("/admin/login/").content.decode())

    assert "/static/backoffice/icon.svg" in loaded
    assert {status(client, url) for url in loaded} == {200}


def test_serving_static_files_starts_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        files = WhiteNoiseMiddleware(lambda request: HttpResponse()).files

    assert "/static/unfold/css/styles.css" in files


def test_a_static_file_leaves_no_line_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert status(client, "/static/backoffice/icon.svg") == 200
    assert not caplog.records

    assert status(client, "/static/backoffice/nothing.svg") == 404
    assert len(caplog.records) == 1
