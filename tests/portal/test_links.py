"""A link to the usage page: made by a token, used once, in one browser."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.db import connections

from config.contract import clock
from tests.contract.credentials import admit_the_operator, operators_token
from tests.portal.cast import (
    USAGE,
    VISIT_COOKIE,
    Visitor,
    forms,
    gone,
    later,
    link_of,
    visitor_of,
)
from tests.support.cast import Org, data
from tokens import secrets
from tokens.cleanup import forget
from tokens.models import AuditEntry, PortalLink

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_link_is_answered_with_its_end_and_never_stored(org: Org) -> None:
    before = clock.real_now()
    response = org.post("/api/portal-links", {"orgId": org.id})

    made = data(response)
    token = urlsplit(made["url"]).path.removeprefix("/portal/")
    link = PortalLink.objects.get()
    assert set(made) == {"url", "expiresAt"}
    assert token.startswith("mgl_")
    assert response.headers["Cache-Control"] == "no-store"
    assert timedelta(0) <= link.expires_at - before - timedelta(minutes=15) < timedelta(seconds=10)
    assert bytes(link.token_hash) == secrets.hashed(token)
    assert token not in str(PortalLink.objects.values())


def test_looking_at_a_link_uses_nothing_up(org: Org) -> None:
    path = link_of(org)
    scanner = Visitor()

    for verb in (scanner.client.get, scanner.client.head, scanner.client.get):
        assert verb(path).status_code == 200
    opened = Visitor().open(path)

    assert opened.status_code == 303
    assert opened.headers["Location"] == USAGE


def test_a_link_is_used_once(org: Org) -> None:
    path = link_of(org)
    first, second = Visitor(), Visitor()
    second_form = forms(second.get(path))[""]
    assert first.open(path).status_code == 303

    looked, pressed = Visitor().get(path), second.post(path, second_form)

    assert gone(looked)
    assert gone(pressed)
    assert first.get().status_code == 200
    assert second.get().status_code == 401


def test_a_double_click_opens_one_visit_and_works(org: Org) -> None:
    path, browser = link_of(org), Visitor()
    form = forms(browser.get(path))[""]

    answers = [browser.post(path, form) for _ in range(3)]

    assert [one.status_code for one in answers] == [303, 303, 303]
    assert len({one.cookies[VISIT_COOKIE].value for one in answers}) == 1
    assert AuditEntry.objects.filter(what="portal_link_used").count() == 1
    assert browser.get().status_code == 200


def test_of_browsers_that_use_a_link_at_once_one_gets_in(org: Org) -> None:
    path = link_of(org)
    crowd = [Visitor() for _ in range(6)]
    held = [forms(one.get(path))[""] for one in crowd]
    together = threading.Barrier(len(crowd))

    def press(one: Visitor, form: dict[str, str]) -> int:
        try:
            together.wait(10)
            return int(one.post(path, form).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(crowd)) as pool:
        answers = list(pool.map(press, crowd, held))

    assert sorted(answers) == [303, 410, 410, 410, 410, 410]
    assert sorted(one.get().status_code for one in crowd) == [200, 401, 401, 401, 401, 401]


def test_after_the_double_click_the_same_browser_is_refused_too(
    org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, browser = link_of(org), Visitor()
    form = forms(browser.get(path))[""]
    browser.post(path, form)

    later(monkeypatch, seconds=11)

    assert gone(browser.post(path, form))


@pytest.mark.parametrize("path", ["/portal/mgl_unknown", "/portal/x", "/portal/" + "y" * 300])
def test_an_unknown_link_looks_like_a_used_one(path: str, org: Org) -> None:
    used = link_of(org)
    Visitor().open(used)

    unknown = Visitor().get(path)

    assert gone(unknown)
    assert unknown.content == Visitor().get(used).content


def test_a_link_expires_after_fifteen_minutes(org: Org, monkeypatch: pytest.MonkeyPatch) -> None:
    path, browser = link_of(org), Visitor()
    form = forms(browser.get(path))[""]

    later(monkeypatch, minutes=15)

    assert gone(browser.get(path))
    assert gone(browser.post(path, form))


def test_an_operator_names_an_organisation_that_exists(org: Org) -> None:
    admit_the_operator()
    headers = {"Authorization": f"Bearer {operators_token()}"}

    answer = org.client.post(
        "/api/portal-links",
        {"orgId": "org_00000000000000000000000000"},
        content_type="application/json",
        headers=headers,
    )

    assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/portal/x", USAGE, "/portal/cancel"])
def test_no_page_is_kept_embedded_or_passed_on(path: str, visitor: Visitor, org: Org) -> None:
    for somebody in (visitor, Visitor()):
        headers = somebody.get(path).headers

        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Robots-Tag"] == "noindex"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy


def test_each_step_is_in_the_audit_trail(org: Org) -> None:
    visitor = visitor_of(org)
    visitor.press(USAGE, action=USAGE)

    entries = AuditEntry.objects.filter(what__startswith="portal").order_by("pk")

    link = PortalLink.objects.get()
    family = org.tokens.family.id
    assert [(one.what, one.who, one.org_id, one.family_id) for one in entries] == [
        ("portal_link_made", f"installation:{family}", org.id, family),
        ("portal_link_used", f"portal:{link.pk}", org.id, family),
        ("portal_closed", f"portal:{link.pk}", org.id, family),
    ]
    assert all(one.request_id for one in entries)


def test_what_is_over_is_forgotten_after_a_month_and_what_happened_is_not(org: Org) -> None:
    visitor_of(org)
    link_of(org)
    written = AuditEntry.objects.count()

    kept = forget(now=clock.real_now() + timedelta(days=30)).portal_links
    gone_now = forget(now=clock.real_now() + timedelta(days=30, hours=1)).portal_links

    assert (kept, gone_now) == (0, 2)
    assert not PortalLink.objects.exists()
    assert AuditEntry.objects.count() == written
