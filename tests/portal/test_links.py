"""A link to the usage page: made by a token, used once, in one browser."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connections
from pytest_django import Settings

from config.contract import clock
from tests.contract.credentials import admit_the_operator, operators_token
from tests.portal.cast import USAGE, VISIT_COOKIE, Visitor, forms, html, link_of, visitor_of
from tests.support.cast import Org, data, make_org, tokens_for
from tokens import operators, scopes, secrets
from tokens.cleanup import forget
from tokens.families import revoke_family
from tokens.models import AuditEntry, PortalLink
from tokens.suspension import restore, suspend

pytestmark = pytest.mark.django_db(transaction=True)


def later(monkeypatch: pytest.MonkeyPatch, **passed: float) -> None:
    """Let real time have passed."""
    then = clock.real_now() + timedelta(**passed)
    monkeypatch.setattr(clock, "real_now", lambda: then)


def gone(response: Any) -> bool:
    """Tell whether a link was refused, in the words that say nothing more."""
    return response.status_code == 410 and "This link is no longer valid" in html(response)


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


def test_a_visit_lasts_thirty_minutes_however_busy(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = clock.real_now()
    monkeypatch.setattr(clock, "real_now", lambda: began + timedelta(minutes=29))
    busy = visitor.get().status_code

    monkeypatch.setattr(clock, "real_now", lambda: began + timedelta(minutes=31))
    after = visitor.get()

    assert (busy, after.status_code) == (200, 401)
    assert "Your visit is over" in html(after)


def _revoked(org: Org) -> None:
    now = clock.real_now()
    revoke_family(org_id=org.id, family_id=org.tokens.family.id, who="test", now=now)


def _suspended(org: Org) -> None:
    suspend(org_id=org.id, reason="test", who="test", now=clock.real_now())


@pytest.mark.parametrize("end", [_revoked, _suspended])
def test_a_link_and_its_visit_end_with_what_made_them(end: Any, org: Org) -> None:
    path, browser = link_of(org), Visitor()
    form = forms(browser.get(path))[""]
    visitor = visitor_of(org)

    end(org)

    assert gone(browser.get(path))
    assert gone(browser.post(path, form))
    assert visitor.get().status_code == 401
    assert visitor.post(USAGE, {}).status_code == 401


def test_a_visit_ends_long_after_the_tokens_copy_forgot_the_revocation(
    org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of(org)
    _revoked(org)

    later(monkeypatch, minutes=20)

    assert visitor.get().status_code == 401


def test_another_installation_of_the_organisation_that_ends_ends_no_visit(org: Org) -> None:
    other = tokens_for(org.id, scopes.OWNER).family
    visitor = visitor_of(org)

    revoke_family(org_id=org.id, family_id=other.id, who="test", now=clock.real_now())

    assert visitor.get().status_code == 200


def test_a_restored_organisation_goes_on_with_its_visit(org: Org) -> None:
    visitor = visitor_of(org)
    _suspended(org)
    assert visitor.get().status_code == 401

    restore(org_id=org.id, reason="test", who="test", now=clock.real_now())

    assert visitor.get().status_code == 200


def test_an_operators_link_ends_with_its_key(org: Org) -> None:
    now = clock.real_now()
    key = operators.create(name="shop", wanted=["billing:read", "usage:void"], who="t", now=now)
    token, _ = operators.operator_token(key_id=key.key_id, secret=key.secret, now=now)
    url = data(
        org.client.post(
            "/api/portal-links",
            {"orgId": org.id},
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
    )["url"]
    visitor = Visitor()
    visitor.open(urlsplit(url).path)
    assert visitor.get().status_code == 200
    assert PortalLink.objects.get().scopes == ["billing:read"]

    operators.revoke(key_id=key.key_id, who="test", now=now)

    assert visitor.get().status_code == 401


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


def test_closing_ends_the_visit_and_takes_the_cookie_back(visitor: Visitor) -> None:
    held = visitor.client.cookies[VISIT_COOKIE].value

    closed = visitor.press(USAGE, action=USAGE)

    assert "Your visit is over" in html(closed)
    assert closed.cookies[VISIT_COOKIE]["max-age"] == 0
    visitor.client.cookies[VISIT_COOKIE] = held
    assert visitor.get().status_code == 401


def test_the_cookies_of_an_http_run_have_a_plain_name(org: Org) -> None:
    browser, path = Visitor(), link_of(org)
    opening = browser.get(path).cookies["metergate_opening"]
    visit = browser.open(path).cookies[VISIT_COOKIE]

    assert (opening["httponly"], opening["samesite"], opening["path"]) == (True, "Strict", "/")
    assert (visit["httponly"], visit["samesite"], visit["path"]) == (True, "Lax", "/")
    assert 1790 <= int(visit["max-age"]) <= 1800
    assert not visit["secure"]
    assert not visit["domain"]


def test_over_https_the_cookies_are_bound_to_the_host(org: Org, settings: Settings) -> None:
    settings.PORTAL_COOKIES_SECURE = True
    browser, path = Visitor(), link_of(org)

    opening = browser.get(path).cookies["__Host-metergate_opening"]
    visit = browser.open(path).cookies["__Host-metergate_visit"]

    for cookie in (opening, visit):
        assert cookie["secure"] is True
        assert cookie["httponly"] is True
        assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert browser.get().status_code == 200


def test_the_cookie_is_not_djangos_session_and_opens_nothing_else(visitor: Visitor) -> None:
    assert set(visitor.client.cookies) == {"metergate_opening", VISIT_COOKIE}
    assert visitor.get("/admin/").status_code == 302
    assert visitor.get("/api/me/entitlements").status_code == 401


def test_a_visitor_of_one_organisation_never_sees_another(org: Org) -> None:
    other = make_org()
    other.use(4321)
    mine, theirs = visitor_of(org), visitor_of(other)

    assert "4,321" in html(theirs.get())
    assert "4,321" not in html(mine.get())
    assert mine.get().headers["x-tenant-id"] == org.id
    assert theirs.get().headers["x-tenant-id"] == other.id


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
