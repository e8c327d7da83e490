"""Lists stay quick: few queries whatever they show, and no counting of millions."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.test.utils import CaptureQueriesContext

from billing.models import Organization
from config.contract import clock
from config.contract.admin import BoundedPaginator
from config.contract.admin_addresses import TOO_LONG
from quotas.models import UsageCounter
from tests.backoffice.rows import GIVEN, fill, org_id, our_models
from tests.backoffice.test_pages import page
from tests.support.database import superuser
from usage.models import UsageEvent
from webhooks.models import WebhookEvent

Staff = Callable[[str], Client]


def queries(client: Client, url: str) -> list[str]:
    clock.forget_offset()  # else whether it is read again depends on the time of day
    with CaptureQueriesContext(connection) as captured:
        response = client.get(url)
    assert response.status_code == 200
    return [query["sql"] for query in captured.captured_queries]


def results(client: Client, model: type[Model], search: str) -> int:
    response = client.get(page(model, "changelist"), {"q": search})
    count: int = response.context["cl"].result_count
    return count


@pytest.mark.django_db
def test_a_list_of_fifty_asks_no_more_than_a_list_of_two(staff: Staff) -> None:
    client = staff("auditor")
    tables = [model for model in our_models() if model not in GIVEN]
    fill(2)
    few = {model: len(queries(client, page(model, "changelist"))) for model in tables}

    fill(50)
    many = {model: len(queries(client, page(model, "changelist"))) for model in tables}

    assert many == few
    # Session, user, two for permissions; then the list: count, rows, filters, months.
    assert max(many.values()) <= 12


@pytest.mark.django_db
def test_a_list_of_accounts_asks_no_more_for_fifty(staff: Staff) -> None:
    client = staff("superuser")
    few = len(queries(client, "/admin/auth/user/"))

    for number in range(50):
        User.objects.create(username=f"u{number}").groups.add(Group.objects.get(name="auditor"))

    assert len(queries(client, "/admin/auth/user/")) == few


@pytest.mark.django_db
@pytest.mark.usefixtures("one_of_each")
def test_no_list_counts_a_whole_table(staff: Staff) -> None:
    client = staff("auditor")

    for model in our_models():
        counts = [
            sql for sql in queries(client, page(model, "changelist")) if "COUNT(*)" in sql.upper()
        ]

        assert counts, model
        assert all(f"LIMIT {BoundedPaginator.MOST}" in sql for sql in counts), counts


@pytest.mark.django_db
def test_the_ledger_stops_counting_where_nobody_turns_the_page(
    staff: Staff, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(12)
    monkeypatch.setattr(BoundedPaginator, "MOST", 10)

    assert results(staff("auditor"), UsageEvent, "") == 10


@pytest.mark.django_db
def test_the_ledger_offers_no_order_that_has_no_index(staff: Staff) -> None:
    fill(2)

    asked = queries(staff("auditor"), page(UsageEvent, "changelist") + "?o=4")

    assert not [sql for sql in asked if 'ORDER BY "usage_usageevent"."value"' in sql]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "search"),
    [
        (Organization, "Customer 3"),
        (Organization, "cus_3"),
        (Organization, org_id(3)),
        (UsageCounter, org_id(3)),
        (UsageEvent, org_id(3)),
        (UsageEvent, "req-3"),
        (UsageEvent, f"{org_id(3)} req-3"),
        (UsageEvent, f"req-3 {org_id(3)}"),
        (WebhookEvent, "evt_3"),
        (WebhookEvent, "corr-3"),
    ],
)
def test_staff_find_by_the_ids_that_they_are_given(
    staff: Staff, model: type[Model], search: str
) -> None:
    fill(5)

    assert results(staff("support"), model, search) == 1


@pytest.mark.django_db
@pytest.mark.parametrize("search", ["org_UNKNOWN", f"{org_id(1)} req-3", "no-such-request"])
def test_what_is_not_there_is_not_found(staff: Staff, search: str) -> None:
    fill(5)

    assert results(staff("support"), UsageEvent, search) == 0


@pytest.mark.django_db
def test_a_search_in_the_ledger_by_both_ids_can_use_the_index(staff: Staff) -> None:
    fill(2)
    client = staff("support")

    asked = queries(client, page(UsageEvent, "changelist") + f"?q={org_id(1)}+req-1")

    rows = [sql for sql in asked if 'ORDER BY "usage_usageevent"."id" DESC' in sql]
    assert len(rows) == 1
    assert f""""org_id" IN ('{org_id(1)}')""" in rows[0]
    assert """"request_id" = 'req-1'""" in rows[0]
    assert "UPPER" not in rows[0]


@pytest.mark.django_db
@pytest.mark.usefixtures("one_of_each")
def test_a_row_is_reached_by_the_id_the_outside_world_knows(staff: Staff) -> None:
    client = staff("auditor")

    for url in (
        f"/admin/billing/organization/{org_id(0)}/change/",
        f"/admin/quotas/entitlement/{org_id(0)}/change/",
        f"/admin/tokens/orgaccess/{org_id(0)}/change/",
        "/admin/billing/subscription/sub_0/change/",
        "/admin/billing/invoiceref/in_0/change/",
        "/admin/webhooks/webhookevent/evt_0/change/",
        "/admin/billing/plan/starter/change/",
    ):
        assert client.get(url).status_code == 200, url


@pytest.mark.django_db
@pytest.mark.usefixtures("one_of_each")
@pytest.mark.parametrize("key", ["org_UNKNOWN", "999999", "99999999999999999999999", "nonsense"])
def test_a_row_that_is_not_there_is_said_to_be_missing(staff: Staff, key: str) -> None:
    response = staff("auditor").get(f"/admin/billing/organization/{key}/change/", follow=True)

    assert response.redirect_chain == [("/admin/", 302)]
    assert "exist" in response.content.decode()


@pytest.mark.django_db
@pytest.mark.usefixtures("one_of_each")
def test_each_page_of_an_organization_links_to_the_others(staff: Staff) -> None:
    client = staff("auditor")

    shown = client.get(f"/admin/billing/organization/{org_id(0)}/change/").content.decode()

    for table in ("quotas/usagecounter", "usage/usageevent", "tokens/refreshtoken"):
        assert f"/admin/{table}/?q={org_id(0)}" in shown
        assert (
            f"/admin/organisations/{org_id(0)}/" in client.get(f"/admin/{table}/").content.decode()
        )


@pytest.mark.django_db
def test_spent_counters_are_found(staff: Staff) -> None:
    fill(6)
    client = staff("support")

    blocked = client.get(page(UsageCounter, "changelist"), {"quota": "blocked"})
    overage = client.get(page(UsageCounter, "changelist"), {"quota": "overage"})

    assert {row.remaining for row in blocked.context["cl"].result_list} == {0}
    assert (blocked.context["cl"].result_count, overage.context["cl"].result_count) == (2, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "query", ["p=abc", "p=99999", "o=x", "org_id=%00", "q=%00", "id=x", "nonsense=1", "e=1", "all="]
)
def test_nonsense_in_the_address_is_no_fault(staff: Staff, query: str) -> None:
    fill(1)

    response = staff("auditor").get(f"{page(UsageEvent, 'changelist')}?{query}", follow=True)

    assert response.status_code == 200


@pytest.fixture
def held_ledger(transactional_db: None) -> Iterator[None]:
    """The ledger cannot be read for now, and the database gives up quickly."""
    fill(1)
    ready, done = threading.Event(), threading.Event()

    def hold() -> None:
        with superuser(str(connection.settings_dict["NAME"])) as other, other.transaction():
            other.execute("LOCK TABLE usage_usageevent IN ACCESS EXCLUSIVE MODE")
            ready.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert ready.wait(5)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '100ms'")
    yield
    done.set()
    thread.join()
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_search_that_takes_too_long_ends_in_a_sentence(staff: Staff, held_ledger: Any) -> None:
    response = staff("auditor").get(page(UsageEvent, "changelist"), {"q": "req-1"})

    assert response.status_code == 302
    assert response.headers["Location"] == page(UsageEvent, "changelist")
    assert [str(message) for message in get_messages(response.wsgi_request)] == [TOO_LONG]
