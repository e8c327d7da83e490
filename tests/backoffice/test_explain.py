"""The page that explains: who may read it, what it is asked, and what it shows."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from billing.models import Organization
from quotas.denial_book import book
from tests.backoffice.conftest import READERS
from tests.backoffice.test_lists import queries
from tests.support.cast import Org, make_org

pytestmark = pytest.mark.django_db(transaction=True)
Staff = Callable[[str], Client]

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
URL = "/admin/explain/"


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def denied(transactional_db: None) -> Org:
    """An organisation that used 8 of 10 and was denied 3."""
    org = make_org(included=10, now=NOW)
    org.use(8, request_id="use-1")
    body = {"orgId": org.id, "metric": "api_call", "value": 3}
    ids = {"x-request-id": "r-1", "x-correlation-id": "c-1"}
    assert org.post("/api/quota/check", body, **ids).status_code == 429
    book.flush()
    return org


def shown(client: Client, **asked: str) -> str:
    response = client.get(URL, asked)
    assert response.status_code == 200
    return response.content.decode()


def test_the_page_has_a_name_that_others_may_link_to() -> None:
    assert reverse("admin:explain") == URL


@pytest.mark.parametrize("role", READERS)
def test_every_role_reads_it_and_finds_it_in_the_sidebar(staff: Staff, role: str) -> None:
    client = staff(role)

    assert "What the customer quotes" in shown(client)
    assert f'href="{URL}"' in client.get("/admin/").content.decode()


def test_who_has_no_role_does_not(client: Client) -> None:
    client.force_login(User.objects.create(username="new", is_staff=True))

    assert client.get(URL).status_code == 403
    assert f'href="{URL}"' not in client.get("/admin/").content.decode()


def test_strangers_are_sent_to_the_log_in(client: Client, transactional_db: None) -> None:
    assert client.get(URL, {"id": "c-1"}).headers["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("quoted", ["c-1", "r-1"])
def test_a_denied_request_is_explained_by_its_ids(staff: Staff, denied: Org, quoted: str) -> None:
    html = shown(staff("support"), id=quoted)

    assert "Denied: 3 units of api_call asked for, and 2 units left." in html
    assert "Period 2026-11" in html
    assert denied.id in html


def test_a_counted_use_is_explained_by_its_id(staff: Staff, denied: Org) -> None:
    assert "Counted: 8 units of api_call." in shown(staff("support"), id="use-1")


@pytest.mark.parametrize("asked", ["id", "name"])
def test_an_organisation_is_found_by_what_support_knows(
    staff: Staff, denied: Org, asked: str
) -> None:
    known = {"id": denied.id, "name": "acme"}

    html = shown(staff("support"), org=known[asked], metric="api_call")

    assert "Allowed: 1 unit of api_call may be used, within what is included." in html


def test_a_name_of_several_offers_them(staff: Staff, denied: Org) -> None:
    other = make_org(now=NOW)

    html = shown(staff("support"), org="Acme", metric="api_call")

    assert f"{URL}?org={denied.id}&amp;metric=api_call" in html
    assert f"{URL}?org={other.id}&amp;metric=api_call" in html
    assert "In words" not in html


def test_an_instant_of_the_past_is_asked_in_utc(staff: Staff, denied: Org) -> None:
    html = shown(staff("support"), org=denied.id, metric="api_call", at="2026-11-20T11:59")

    assert "nothing had been granted to the organisation" in html


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"id": "unknown"}, 404),
        ({"id": ""}, 200),
        ({"id": "\x00"}, 200),
        ({"id": "x" * 500}, 200),
        ({"org": "org_UNKNOWN"}, 404),
        ({"org": "nobody by this name"}, 200),
        ({"org": "\x00", "at": "yesterday"}, 200),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_said(
    staff: Staff, denied: Org, asked: dict[str, str], status: int
) -> None:
    response = staff("support").get(URL, asked)

    assert response.status_code == status
    assert "In words" not in response.content.decode()


def test_it_links_to_the_event_that_set_the_status(staff: Staff, denied: Org) -> None:
    from quotas.models import Entitlement

    Entitlement.objects.update(status_because="customer.subscription.updated evt_0abc")

    html = shown(staff("support"), org=denied.id)

    assert "/admin/webhooks/webhookevent/evt_0abc/change/" in html


def test_it_offers_what_puts_it_right_to_who_may(staff: Staff, denied: Org) -> None:
    offered = _result(shown(staff("billing admin"), id="c-1"))

    assert "/admin/acts/reset-quota/" in offered
    assert "/admin/acts/suspend-organization/" not in offered
    assert "/admin/acts/reset-quota/" not in _result(shown(staff("auditor"), id="c-1"))


def test_a_name_cannot_bring_markup_along(staff: Staff, denied: Org) -> None:
    Organization.objects.update(name="<script>alert(1)</script>")

    html = shown(staff("support"), id="c-1")

    assert "<script>alert(1)" not in html


def test_it_takes_as_many_queries_for_many_denials_as_for_one(staff: Staff, denied: Org) -> None:
    client = staff("support")
    few = len(queries(client, f"{URL}?id=c-1"))

    for number in range(20):
        ids = {"x-request-id": f"r-{number + 2}", "x-correlation-id": "c-1"}
        body = {"orgId": denied.id, "metric": "api_call", "value": 3}
        denied.post("/api/quota/check", body, **ids)
    book.flush()
    many = len(queries(client, f"{URL}?id=c-1"))

    assert many <= few
    assert many <= 30


def _result(html: str) -> str:
    return html[html.index("In words") :]
