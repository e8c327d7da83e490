"""Every act alike: who may, nothing before it is confirmed, once, and written down."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import User
from django.db import InternalError, ProgrammingError, connection
from django.test import Client

from config.backoffice.acts.registry import ACTS, acts_for
from config.backoffice.acts.views import CONFIRMATION_LIFE
from config.backoffice.models import StaffAct, StaffActEnd
from config.contract import clock
from quotas import corrections
from quotas.models import Adjustment, Entitlement, Forgiveness
from tests.backoffice.acting import REASON, Look, Staff, confirm, do, look, url
from tests.backoffice.conftest import READERS
from tests.contract.state import nothing_written
from tests.support.cast import Org
from tokens.suspension import suspend

pytestmark = pytest.mark.django_db(transaction=True)

REPLAYS = {"replay-webhooks", "resync-organization", "resend-notification"} & set(ACTS)
SUPERUSERS = {name for name in ACTS if "operator-key" in name} | {"remove-second-factor"}
#: What each role may do. An act that is new stands in nobody's row but the last one's.
MATRIX: dict[str, set[str]] = {
    "auditor": set(),
    "support": REPLAYS,
    "billing admin": set(ACTS) - SUPERUSERS,
    "superuser": set(ACTS),
}

each_act = pytest.mark.parametrize("name", ACTS)
each_role = pytest.mark.parametrize("role", READERS)


def test_every_role_has_a_row() -> None:
    assert set(MATRIX) == set(READERS)


@each_act
@each_role
def test_an_act_opens_to_whom_it_should(staff: Staff, role: str, name: str) -> None:
    client = staff(role)
    expected = 200 if name in MATRIX[role] else 403

    with nothing_written():
        answers = [client.get(url(name)), client.post(url(name), {"reason": REASON})]
        if expected == 403:
            answers.append(client.post(url(name), {"confirmation": "whatever"}))

    assert [one.status_code for one in answers] == [expected] * len(answers)


@each_act
def test_strangers_are_sent_to_the_log_in(client: Client, name: str) -> None:
    answers = [client.get(url(name)), client.post(url(name), {"confirmation": "x"})]

    for answer in answers:
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/admin/login/?next=")


@each_role
def test_only_what_one_may_do_is_offered(staff: Staff, role: str, org: Org) -> None:
    client = staff(role)

    pages = [
        client.get(path).content.decode()
        for path in ("/admin/acts/", f"/admin/billing/organization/{org.id}/change/")
    ]

    offered = [set(re.findall(r'href="/admin/acts/([a-z-]+)/', page)) for page in pages]
    assert offered[0] == MATRIX[role]
    assert (
        offered[1] == {offer.name for offer in acts_for(User.objects.get(), org.id)} <= MATRIX[role]
    )


@each_act
def test_nothing_is_done_without_a_csrf_token(staff: Staff, name: str) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff("superuser").cookies

    with nothing_written():
        answer = strict.post(url(name), {"reason": REASON})

    assert answer.status_code == 403


@each_act
def test_every_act_asks_why(staff: Staff, name: str, org: Org) -> None:
    answer = Look(staff("superuser").post(url(name), {"org_id": org.id, "reason": "  "}))

    assert answer.response.context["form"].errors["reason"] == ["This field is required."]
    assert not answer.can_be_confirmed


NONSENSE = ["\x00", "é" * 600, str(10**30), "<script>x</script>"]


@pytest.mark.usefixtures("sandbox")
@each_act
def test_nonsense_is_refused_or_finds_nothing_and_is_no_fault(staff: Staff, name: str) -> None:
    client = staff("superuser")
    fields = ACTS[name].form.base_fields

    for nonsense in NONSENSE:
        asked = dict.fromkeys(fields, nonsense)
        answers = [
            client.get(url(name), asked),
            client.post(url(name), {**asked, "reason": REASON}),
        ]

        assert [one.status_code for one in answers] == [200] * 2
        assert not any(b"<script>x" in one.content for one in answers)
    assert not StaffAct.objects.exists()


def test_an_act_that_does_not_exist_is_404(staff: Staff) -> None:
    assert staff("superuser").get(url("drop-everything")).status_code == 404


def grant(org: Org, units: int = 500) -> dict[str, Any]:
    return {"org_id": org.id, "metric": "api_call", "units": units}


def test_looking_changes_nothing(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    client.get("/admin/acts/")  # the session is written

    with nothing_written():
        looked = look(client, "grant-units", **grant(org))

    assert looked.can_be_confirmed
    assert "no-store" in looked.response.headers["Cache-Control"]


def test_what_is_done_is_written_down_with_who_why_and_the_ids(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    ids = {"x-request-id": "req-1", "x-correlation-id": "cor-1"}
    looked = look(client, "grant-units", **grant(org))

    client.post(url("grant-units"), {"confirmation": looked.confirmation}, headers=ids)

    row = StaffAct.objects.get()
    user = User.objects.get()
    assert (row.act, row.org_id, row.reason) == ("grant-units", org.id, REASON)
    assert (row.who, row.username) == (f"staff:{user.pk}", "billing-admin")
    assert (row.request_id, row.correlation_id) == ("req-1", "cor-1")
    assert row.asked["units"] == 500
    assert ["api_call: remaining", "10,000", "10,500"] in row.shown
    assert (row.end.state, Adjustment.objects.get().made_by) == ("done", row.who)


def test_a_page_sent_twice_is_done_once(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    looked = look(client, "grant-units", **grant(org))

    answers = [confirm(client, "grant-units", looked) for _ in range(3)]

    assert Adjustment.objects.count() == StaffAct.objects.count() == 1
    record = f"/admin/backoffice/staffact/{StaffAct.objects.get().pk}/change/"
    assert [one.headers["Location"] for one in answers[1:]] == [record] * 2
    page = Look(client.get(record)).text
    assert "That was confirmed before, and was not done again" in page
    assert "done: 500 units of api_call granted" in page


def test_a_page_sent_twice_at_once_is_done_once(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    looked = look(client, "grant-units", **grant(org))
    together = Barrier(4, timeout=30)

    def press(_: int) -> int:
        browser = Client()
        browser.cookies = client.cookies
        together.wait()
        try:
            status: int = confirm(browser, "grant-units", looked).status_code
            return status
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(press, range(4)))

    # 409: another was done first, and what was shown is not so any more.
    assert answers <= {302, 409}
    assert Adjustment.objects.count() == StaffAct.objects.count() == 1


def test_what_has_changed_since_it_was_shown_is_shown_anew_and_not_done(
    staff: Staff, org: Org
) -> None:
    client = staff("billing admin")
    looked = look(client, "grant-units", **grant(org))
    corrections.adjust(
        org_id=org.id, metric="api_call", units=70, reason="x", who="t", now=clock.now()
    )

    with nothing_written():
        again = Look(confirm(client, "grant-units", looked))

    assert again.response.status_code == 409
    assert "has changed since you looked" in again.text
    assert again.changes["api_call: remaining"] == ("10,070", "10,570")
    assert confirm(client, "grant-units", again).status_code == 302
    assert sum(Adjustment.objects.values_list("units", flat=True)) == 570


def test_a_page_left_open_is_shown_anew(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    looked = look(client, "grant-units", **grant(org))

    with time_machine.travel(clock.real_now().timestamp() + CONFIRMATION_LIFE + 5):
        again = Look(confirm(client, "grant-units", looked))

    assert again.response.status_code == 409
    assert "You looked a while ago" in again.text
    assert not Adjustment.objects.exists()


def test_a_confirmation_is_good_for_one_person_and_one_act(staff: Staff, org: Org) -> None:
    looked = look(staff("billing admin"), "grant-units", **grant(org))
    boss = staff("superuser")

    with nothing_written():
        answers = [
            boss.post(url(name), {"confirmation": text})
            for name, text in (
                ("grant-units", looked.confirmation),
                ("reset-quota", looked.confirmation),
                ("grant-units", looked.confirmation[:-2]),
                ("grant-units", ""),
            )
        ]

    assert [one.headers["Location"] for one in answers] == [
        url("grant-units"),
        url("reset-quota"),
        url("grant-units"),
        url("grant-units"),
    ]


def test_who_loses_the_role_cannot_confirm_what_was_shown(staff: Staff, org: Org) -> None:
    client = staff("billing admin")
    looked = look(client, "grant-units", **grant(org))
    User.objects.get().groups.clear()

    answer = confirm(client, "grant-units", looked)

    assert answer.status_code == 403
    assert not Adjustment.objects.exists()


def test_what_is_not_as_the_service_wants_it_is_said_at_the_field(staff: Staff, org: Org) -> None:
    answer = look(staff("billing admin"), "grant-units", **grant(org, units=0))

    assert "Expected a number of units other than 0" in answer.text
    assert not answer.can_be_confirmed


def test_an_organisation_that_does_not_exist_is_refused(staff: Staff) -> None:
    answer = look(staff("billing admin"), "suspend-organization", org_id="org_of_nobody")

    assert "No such organisation" in answer.text


def test_what_would_change_nothing_cannot_be_confirmed(staff: Staff, org: Org) -> None:
    suspend(org_id=org.id, reason="unpaid", who="t", now=clock.real_now())

    answer = look(staff("billing admin"), "suspend-organization", org_id=org.id)

    assert "It is suspended already" in answer.text
    assert not answer.can_be_confirmed


def test_what_the_service_refuses_in_the_end_is_written_down_as_failed(
    staff: Staff, org: Org, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = staff("billing admin")
    looked = look(client, "grant-units", **grant(org))
    act = ACTS["grant-units"]
    unchanged = act.effect
    monkeypatch.setattr(act, "effect", _after(unchanged, Entitlement.objects.all().delete))

    answer = Look(confirm(client, "grant-units", looked))

    assert "Not found" in answer.text
    assert (StaffAct.objects.count(), StaffActEnd.objects.get().state) == (1, "failed")


def _after(effect: Callable[[Any], Any], happens: Callable[[], Any]) -> Callable[[Any], Any]:
    """Return an effect after which, and before the act, something happens elsewhere."""

    def look_then(asked: Any) -> Any:
        found = effect(asked)
        happens()
        return found

    return look_then


@pytest.mark.parametrize("model", [StaffAct, StaffActEnd])
def test_what_staff_did_is_never_written_over(staff: Staff, org: Org, model: Any) -> None:
    do(staff("billing admin"), "grant-units", **grant(org))

    table = model._meta.db_table
    for change in (f"UPDATE {table} SET at = now()", f"DELETE FROM {table}"):  # noqa: S608
        with pytest.raises((InternalError, ProgrammingError)), connection.cursor() as cursor:
            cursor.execute(change)


def test_what_a_service_writes_names_who_and_why(staff: Staff, org: Org) -> None:
    org.use(7)

    do(staff("billing admin"), "reset-quota", org_id=org.id, metric="", force="on")

    row = Forgiveness.objects.get()
    assert (row.reason, row.made_by) == (REASON, StaffAct.objects.get().who)
