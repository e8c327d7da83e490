"""One box: whatever a customer quotes leads to its page, and stands in no address."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Operation, Organization
from config.backoffice import search
from config.backoffice.seeding import seed
from config.contract import clock
from quotas.denial_models import Denial, DeniedRequest
from tests.backoffice.rows import fill, org_id
from tests.support.database import superuser
from tokens.models import AuditEntry
from usage.models import UsageEvent
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db
Staff = Callable[[str], Client]


def leads_to(client: Client, term: str) -> str:
    response = client.post("/admin/find/", {"term": term})
    assert response.status_code == 302, [one.title for one in response.context["found"]]
    return response.headers["Location"]


def page(model: str, key: object) -> str:
    return f"/admin/{model}/{key}/change/"


@pytest.mark.parametrize(
    "term",
    [org_id(3), "cus_3", "owner3@customer.example", "Owner3@Customer.Example", "customer 3"]
    + [f"  {org_id(3)} "],
)
def test_an_organisation_is_found_by_id_customer_mail_and_name(staff: Staff, term: str) -> None:
    fill(5)

    assert leads_to(staff("support"), term) == f"/admin/organisations/{org_id(3)}/"


@pytest.mark.parametrize(
    ("term", "url"),
    [
        ("sub_3", page("billing/subscription", "sub_3")),
        ("in_3", page("billing/invoiceref", "in_3")),
        ("evt_3", page("webhooks/webhookevent", "evt_3")),
        ("corr-3", page("webhooks/webhookevent", "evt_3")),
        ("opk_3", page("tokens/operatorkey", "opk_3")),
        ("fam_3", page("tokens/tokenfamily", "fam_3")),
        (
            "00000000-0000-0000-0000-000000000004",
            page("billing/operation", "00000000-0000-0000-0000-000000000004"),
        ),
        ("Entitlements", "/admin/quotas/entitlement/"),
    ],
)
def test_an_id_leads_to_the_page_of_what_it_names(staff: Staff, term: str, url: str) -> None:
    fill(5)

    assert leads_to(staff("support"), term) == url


def test_an_object_that_is_not_mirrored_is_found_by_what_stripe_said_of_it(staff: Staff) -> None:
    fill(1)
    now = clock.now()
    WebhookEvent.objects.create(
        event_id="evt_stranger",
        object_id="sub_stranger",
        due_at=now,
        created_at=now,
        received_at=now,
    )

    assert leads_to(staff("support"), "sub_stranger") == page(
        "webhooks/webhookevent", "evt_stranger"
    )


def test_a_request_id_leads_to_what_happened_under_it(staff: Staff) -> None:
    fill(4)
    entry = AuditEntry.objects.get(request_id="req-audit-2")
    client = staff("support")

    assert leads_to(client, "req-audit-2") == page("tokens/auditentry", entry.pk)
    assert leads_to(client, "corr-audit-2") == page("tokens/auditentry", entry.pk)


def test_a_use_and_its_void_are_both_shown(staff: Staff) -> None:
    fill(4)

    response = staff("support").post("/admin/find/", {"term": "req-2"})

    assert [one.kind for one in response.context["found"]] == ["Usage event", "Void"]


def test_a_counted_use_leads_to_why_it_was_counted(staff: Staff) -> None:
    fill(4)
    client = staff("support")
    UsageEvent.objects.create(
        **{
            **UsageEvent.objects.filter(request_id="req-2").values().get(),
            "id": 999,
            "request_id": "only",
        }
    )

    assert leads_to(client, "only") == "/admin/explain/?id=only"


def test_a_request_id_that_two_organisations_used_is_a_list_of_both(staff: Staff) -> None:
    fill(4)
    for number, org in ((998, org_id(0)), (999, org_id(1))):
        held = UsageEvent.objects.filter(request_id="req-2").values().get()
        UsageEvent.objects.create(**{**held, "id": number, "request_id": "both", "org_id": org})

    response = staff("support").post("/admin/find/", {"term": "both"})

    assert {one.url for one in response.context["found"]} == {
        page("usage/usageevent", 998),
        page("usage/usageevent", 999),
    }


def test_a_denied_request_leads_to_its_denial(staff: Staff) -> None:
    fill(1)
    now = clock.now()
    denial = Denial.objects.create(
        org_id=org_id(0),
        metric="api_call",
        code="RATE_LIMITED",
        minute=now - timedelta(days=1),
        count=1,
        first_at=now,
        last_at=now,
    )
    DeniedRequest.objects.create(
        denial=denial, at=now, value=1, door="usage", request_id="r-denied", correlation_id="c-9"
    )

    client = staff("support")

    for term in ("r-denied", "c-9"):
        assert leads_to(client, term) == f"/admin/explain/?id={term}"


def test_what_two_share_is_a_list_of_both(staff: Staff) -> None:
    fill(3)
    Organization.objects.exclude(org_id=org_id(0)).update(email="both@customer.example")

    response = staff("support").post("/admin/find/", {"term": "both@customer.example"})

    assert {one.detail for one in response.context["found"]} == {org_id(1), org_id(2)}


def test_only_so_many_are_shown(staff: Staff) -> None:
    fill(search.MOST + 5)

    response = staff("support").post("/admin/find/", {"term": "customer"})

    assert len(response.context["found"]) == search.MOST
    assert "There may be more" in response.content.decode()


@pytest.mark.parametrize(
    "term", ["nobody@nowhere.example", "org_UNKNOWN", "evt_9", "%", "_", "x" * 5000, "a\0b", "'"]
)
def test_what_is_not_there_is_said_to_be_unknown(staff: Staff, term: str) -> None:
    fill(2)

    response = staff("support").post("/admin/find/", {"term": term})

    assert response.status_code == 200
    assert "Nothing is known by that." in response.content.decode()


def test_an_empty_box_explains_itself(staff: Staff) -> None:
    for response in (
        staff("support").get("/admin/find/"),
        staff("auditor").post("/admin/find/", {"term": " "}),
    ):
        assert "What finds what" in response.content.decode()


def test_a_term_in_the_address_is_not_read(staff: Staff) -> None:
    fill(2)

    response = staff("support").get("/admin/find/", {"term": "owner1@customer.example"})

    assert response.context["term"] == ""


def test_an_address_of_a_person_lands_neither_in_the_log_nor_in_where_it_leads(
    staff: Staff, caplog: pytest.LogCaptureFixture
) -> None:
    fill(2)
    client = staff("support")

    found = client.post("/admin/find/", {"term": "owner1@customer.example"})
    missed = client.post("/admin/find/", {"term": "owner9@customer.example"})

    assert "@" not in found.headers["Location"]
    assert missed.status_code == 200
    assert caplog.records
    assert "customer.example" not in caplog.text


def test_the_box_stands_on_every_page_and_posts(staff: Staff) -> None:
    fill(1)
    client = staff("support")

    for url in ("/admin/", "/admin/usage/usageevent/", f"/admin/organisations/{org_id(0)}/"):
        html = client.get(url).content.decode()

        assert '<form class="mg-find" method="post" action="/admin/find/"' in html


def test_a_search_without_its_token_is_refused(staff: Staff) -> None:
    guarded = Client(enforce_csrf_checks=True)
    guarded.force_login(User.objects.create(username="s", is_staff=True, is_superuser=True))

    assert guarded.post("/admin/find/", {"term": "x"}).status_code == 403


def test_strangers_and_staff_without_a_role_find_nothing(db: None, client: Client) -> None:
    assert client.post("/admin/find/", {"term": "x"}).status_code == 302
    client.force_login(User.objects.create(username="new", is_staff=True))

    assert client.post("/admin/find/", {"term": "x"}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_request_id_is_looked_up_by_the_index_whatever_the_ledger_holds(staff: Staff) -> None:
    seed(organisations=30, events=3_000, now=clock.now())
    with superuser(str(connection.settings_dict["NAME"])) as other:
        plan = "\n".join(
            row[0] for row in other.execute("EXPLAIN " + search._EVENTS, ["req-1", 20]).fetchall()
        )

    assert "usage_event_counted_once" in plan
    assert "Seq Scan on usage_usageevent" not in plan


def test_its_queries_do_not_grow_with_what_it_finds(staff: Staff) -> None:
    client = staff("support")
    counts = []
    for rows in (4, 16):
        fill(rows)
        clock.forget_offset()
        with CaptureQueriesContext(connection) as captured:
            client.post("/admin/find/", {"term": "customer"})
        counts.append(len(captured))

    assert counts[0] == counts[1] <= 14
    assert not Operation.objects.filter(org_id="").exists()
