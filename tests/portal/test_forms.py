"""Forms that did not come from our page, and what is in the log of all this."""

from typing import Any

import pytest

from tests.contract.capture import logged
from tests.contract.state import nothing_written
from tests.portal.cast import USAGE, VISIT_COOKIE, Visitor, forms, html, link_of, visitor_of
from tests.support.cast import Org, make_org
from tokens.models import PortalLink

pytestmark = pytest.mark.django_db(transaction=True)

#: Every address that takes a form.
FORMS = [
    USAGE,
    "/portal/plans/pro",
    "/portal/cancel",
    "/portal/resume",
    "/portal/keep-plan",
    "/portal/payment-method",
    "/portal/billing",
]


def refused(response: Any) -> bool:
    return response.status_code == 403 and "did not come from this page" in html(response)


def test_a_link_is_not_opened_by_a_form_of_another_site(org: Org) -> None:
    path, victim, attacker = link_of(org), Visitor(), Visitor()
    attackers_form = forms(attacker.get(path))[""]

    with nothing_written():
        bare = victim.post(path, {})
        planted = victim.post(path, attackers_form)
        victim.get(path)
        not_its_own = victim.post(path, attackers_form)
        guessed = victim.post(path, {"form_token": ""})

    assert all(map(refused, (bare, planted, not_its_own, guessed)))
    assert PortalLink.objects.get().used_at is None


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_that_the_browser_says_comes_from_elsewhere_is_refused(site: str, org: Org) -> None:
    path, browser = link_of(org), Visitor()
    form = forms(browser.get(path))[""]

    with nothing_written():
        assert refused(browser.post(path, form, **{"Sec-Fetch-Site": site}))

    # Under `no-referrer` a browser's own form says no more about where it comes from.
    own = {"Sec-Fetch-Site": "same-origin", "Origin": "null"}
    assert browser.post(path, form, **own).status_code == 303


@pytest.mark.parametrize("path", FORMS)
def test_no_form_is_taken_without_our_token(path: str, visitor: Visitor) -> None:
    strangers = visitor_of(make_org())
    of_another_visit = forms(strangers.get())[USAGE]
    own = forms(visitor.get())[USAGE]

    with nothing_written():
        answers = [
            visitor.post(path, {}),
            visitor.post(path, {"form_token": "é"}),
            visitor.post(path, of_another_visit),
            visitor.post(path, own, **{"Sec-Fetch-Site": "cross-site"}),
        ]

    assert all(map(refused, answers))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data; boundary=x", b"--y"),
        ("multipart/form-data", b""),
        ("application/x-www-form-urlencoded; charset=utf-16", b"form_token=x"),
        ("application/x-www-form-urlencoded; charset=none", b"form_token=x"),
        ("application/json", b"{}"),
        ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(2000))),
        ("application/x-www-form-urlencoded", b"form_token=%ff%00"),
    ],
)
def test_what_is_no_form_is_refused_and_no_fault(
    kind: str, body: bytes, visitor: Visitor, org: Org
) -> None:
    link = link_of(org)

    with nothing_written():
        answers = [
            visitor.client.generic("POST", path, body, content_type=kind)
            for path in (USAGE, "/portal/cancel", link)
        ]

    assert {one.status_code for one in answers} <= {400, 403}


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_a_visit_leads_nowhere(path: str, visitor: Visitor) -> None:
    form = forms(visitor.get())[USAGE]

    with nothing_written():
        answers = [Visitor().post(path, form), Visitor().post(path, {})]

    assert [one.status_code for one in answers] == [401, 401]


@pytest.mark.parametrize("verb", ["put", "patch", "delete", "options"])
def test_other_verbs_are_not_known(verb: str, visitor: Visitor) -> None:
    assert getattr(visitor.client, verb)(USAGE).status_code == 405


def test_no_line_holds_a_link_or_what_a_visit_is_known_by(org: Org) -> None:
    with logged() as log:
        path, browser = link_of(org), Visitor()
        form = forms(browser.get(path))[""]
        browser.post(path, form)
        browser.get()
        browser.post(path, {})
        browser.get(path + "/x")
        Visitor().get(path, Referer=f"http://testserver{path}")
        browser.press(USAGE, action=USAGE)

    secrets = [path.removeprefix("/portal/"), form["form_token"]]
    secrets += [browser.client.cookies["metergate_opening"].value]
    assert log.lines
    assert not [secret for secret in secrets if secret in log.text]
    assert "mgl_" not in log.text
    assert "mgv_" not in log.text
    assert VISIT_COOKIE not in log.text


def test_a_link_in_a_line_of_somebody_elses_is_blanked() -> None:
    import structlog

    with logged() as log:
        structlog.get_logger("other").warning("went to http://testserver/portal/mgl_" + "a" * 32)

    assert "mgl_" not in log.text
