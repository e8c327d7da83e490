"""A visit: who has it, how long, and what ends it."""

from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from pytest_django import Settings

from config.contract import clock
from tests.portal.cast import (
    USAGE,
    VISIT_COOKIE,
    Visitor,
    forms,
    gone,
    html,
    later,
    link_of,
    visitor_of,
)
from tests.support.cast import Org, data, make_org, tokens_for
from tokens import operators, scopes
from tokens.families import revoke_family
from tokens.models import PortalLink
from tokens.suspension import restore, suspend

pytestmark = pytest.mark.django_db(transaction=True)


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
