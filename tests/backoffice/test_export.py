"""Any list as a table: what is in it, who gets it, and how a long one is written."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from billing.models import Organization
from config.backoffice.export_models import Export
from config.backoffice.exports import files, lists, service
from config.backoffice.models import StaffAct
from config.backoffice.tasks import finish_exports, forget_exports
from config.contract import clock
from quotas.models import Adjustment, UsageCounter
from tests.backoffice.conftest import READERS
from tests.backoffice.rows import PAYLOAD, SECRET, fill, org_id, our_models
from tests.backoffice.test_pages import page
from usage.models import UsageEvent
from webhooks.models import WebhookEvent

pytestmark = pytest.mark.django_db(transaction=True)
Staff = Callable[[str], Client]


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """Where exports lie."""
    settings.EXPORT_DIR = tmp_path / "exports"
    return tmp_path / "exports"


@pytest.fixture
def nobody_is_rung(monkeypatch: pytest.MonkeyPatch) -> None:
    """No message reaches a worker."""
    monkeypatch.setattr("config.backoffice.exports.views.ring", lambda *_: False)


def url(model: Any) -> str:
    return f"/admin/export/{model._meta.app_label}/{model._meta.model_name}/"


def read(response: Any) -> list[dict[str, str]]:
    assert response.status_code == 200
    text = b"".join(response.streaming_content).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


def ordered(client: Client, model: Any, query: str = "") -> Export:
    """Order a long list, and return what was ordered."""
    response = client.post(f"{url(model)}?{query}")
    assert response.status_code == 302
    export = Export.objects.latest("pk")
    assert response.headers["Location"] == page(Export, "change", export.pk)
    return export


def told(export: Export) -> Export:
    export.refresh_from_db()
    return export


def test_every_list_offers_its_export_and_every_role_gets_it(staff: Staff) -> None:
    fill(1)
    for role in READERS:
        client = staff(role)
        for model in our_models():
            shown = client.get(page(model, "changelist")).content.decode()

            assert f'action="{url(model)}?' in shown, model
            assert read(client.post(url(model))) or model._default_manager.count() == 0


def test_no_export_holds_a_hash_a_secret_or_a_payload(staff: Staff) -> None:
    fill(1)
    client = staff("superuser")
    for model in [*our_models(), User]:
        response: Any = client.post(url(model))
        found = b"".join(response.streaming_content)

        for hidden in (SECRET, SECRET.encode().hex(), PAYLOAD, "memory at"):
            assert hidden.encode() not in found, model
        header = found.split(b"\r\n", 1)[0]
        for name in (b"password", b"secret", b"_hash", b"payload"):
            assert name not in header, model


def test_accounts_are_for_superusers(staff: Staff) -> None:
    fill(1)

    assert staff("billing admin").post(url(User)).status_code == 403
    rows = read(staff("superuser").post(url(User)))

    assert {row["username"] for row in rows} == {"maker", "billing-admin", "superuser"}
    assert [row["roles"] for row in rows if row["username"] == "billing-admin"] == ["billing admin"]


def test_an_export_has_the_rows_that_the_list_shows(staff: Staff) -> None:
    fill(6)
    client = staff("support")

    spent = read(client.post(f"{url(UsageCounter)}?quota=blocked"))
    one = read(client.post(f"{url(UsageEvent)}?q={org_id(3)}+req-3"))

    assert {(row["org_id"], row["remaining"]) for row in spent} == {
        (org_id(0), "0"),
        (org_id(3), "0"),
    }
    assert [(row["request_id"], row["value"]) for row in one] == [("req-3", "1234")]
    assert one[0]["occurred_at"].endswith("Z")


def test_what_a_customer_wrote_is_no_formula_and_numbers_stay_numbers(staff: Staff) -> None:
    fill(1)
    Organization.objects.update(name='=HYPERLINK("http://evil.example","Ünïcode, ok")')
    Adjustment.objects.create(
        org_id=org_id(0),
        metric="api_call",
        period_start=clock.now(),
        units=-5,
        reason="@SUM(1)",
        made_by="staff:1",
        made_at=clock.now(),
    )
    client = staff("support")

    [customer] = read(client.post(url(Organization)))
    newest = read(client.post(url(Adjustment)))[0]

    assert customer["name"] == '\'=HYPERLINK("http://evil.example","Ünïcode, ok")'
    assert (newest["units"], newest["reason"]) == ("-5", "'@SUM(1)")


def test_an_export_is_a_file_to_keep_and_not_to_cache(staff: Staff) -> None:
    fill(1)

    response = staff("support").post(url(WebhookEvent))

    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "no-store" in response.headers["Cache-Control"]
    name = response.headers["Content-Disposition"]
    assert name == f'attachment; filename="webhook-events-{clock.real_now():%Y-%m-%d}.csv"'


def test_each_export_is_in_the_audit_with_its_filters_and_its_end(staff: Staff) -> None:
    fill(3)

    read(staff("support").post(f"{url(UsageEvent)}?q={org_id(1)}"))

    act = StaffAct.objects.latest("pk")
    assert (act.act, act.username, act.reason) == ("export", "support", "Took out usage events")
    assert act.asked == {"list": "usage.UsageEvent", "filters": f"q={org_id(1)}"}
    assert str(act.end) == "done: 1 rows"


def test_an_export_that_is_broken_off_is_not_in_the_audit_as_done(staff: Staff) -> None:
    fill(3)
    response: Any = staff("support").post(url(UsageEvent))

    next(iter(response.streaming_content))
    response.close()

    assert str(StaffAct.objects.latest("pk").end).startswith("failed: Broken off")


def test_a_link_cannot_export(staff: Staff) -> None:
    assert staff("support").get(url(UsageEvent)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get())
    assert strict.post(url(UsageEvent)).status_code == 403
    assert not StaffAct.objects.exists()


def test_who_may_not_read_a_list_may_not_take_it_out(client: Client) -> None:
    client.force_login(User.objects.create(username="new", is_staff=True))

    assert client.post(url(UsageEvent)).status_code == 403
    assert Client().post(url(UsageEvent)).status_code == 302
    assert not StaffAct.objects.exists()


@pytest.mark.parametrize("address", ["no/model", "usage/nothing", "auth/permission"])
def test_what_has_no_list_has_no_export(staff: Staff, address: str) -> None:
    assert staff("superuser").post(f"/admin/export/{address}/").status_code == 404


@pytest.mark.parametrize("query", ["metric__nonsense=1", "org_id=%00"])
def test_nonsense_in_the_filters_exports_nothing(staff: Staff, query: str) -> None:
    fill(1)

    response = staff("support").post(f"{url(UsageEvent)}?{query}")

    assert response.status_code == 302
    assert response.headers["Location"].startswith(page(UsageEvent, "changelist"))


@pytest.mark.usefixtures("nobody_is_rung")
def test_a_long_list_is_written_by_a_worker_for_its_maker(
    staff: Staff, settings: Settings, folder: Path
) -> None:
    fill(5)
    at_once = read(staff("support").post(url(UsageEvent)))
    settings.EXPORT_AT_ONCE = 4
    client = staff("auditor")

    export = ordered(client, UsageEvent)
    waiting = client.get(page(Export, "change", export.pk)).content.decode()
    finish_exports()  # beat finds what no message told of
    for pk in service.unfinished(now=clock.real_now()):
        service.write(pk)

    assert "It is being written" in waiting
    assert told(export).state == Export.State.DONE
    assert (export.rows, export.size) == (5, files.path_of(export.uuid).stat().st_size)
    address = f"/admin/export/file/{export.uuid}/"
    assert address in client.get(page(Export, "change", export.pk)).content.decode()
    assert read(client.get(address)) == at_once
    assert files.path_of(export.uuid).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    act = StaffAct.objects.get(uuid=export.uuid)
    assert str(act.end).startswith("done: 5 rows")


@pytest.mark.usefixtures("nobody_is_rung")
def test_a_file_is_its_makers_alone(staff: Staff, settings: Settings) -> None:
    fill(1)
    settings.EXPORT_AT_ONCE = 0
    maker = staff("support")
    export = ordered(maker, UsageEvent)
    service.write(export.pk)
    address = f"/admin/export/file/{export.uuid}/"

    assert maker.get(address).status_code == 200
    assert staff("superuser").get(address).status_code == 403
    assert Client().get(address).status_code == 302
    assert maker.get(f"/admin/export/file/{UUID(int=99)}/").status_code == 404
    User.objects.get(username="support").groups.clear()
    assert maker.get(address).status_code == 403


@pytest.mark.usefixtures("nobody_is_rung")
def test_turn_by_turn_the_file_is_the_same(
    staff: Staff, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(7)
    at_once = read(staff("support").post(f"{url(UsageEvent)}?metric=api_call"))
    settings.EXPORT_AT_ONCE = 0
    monkeypatch.setattr(lists, "PAGE", 2)
    monkeypatch.setattr(service, "TURN", -1)
    client = staff("auditor")
    export = ordered(client, UsageEvent, "metric=api_call")

    turns = 1
    while not service.write(export.pk):
        turns += 1
        with files.path_of(export.uuid).with_suffix(".csv.part").open("ab") as part:
            part.write(b"what a crash left behind")

    assert turns == 5  # the last one finds nothing left
    assert read(client.get(f"/admin/export/file/{export.uuid}/")) == at_once


@pytest.mark.usefixtures("nobody_is_rung")
def test_on_a_machine_without_the_file_it_is_begun_anew(
    staff: Staff, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(5)
    settings.EXPORT_AT_ONCE = 0
    monkeypatch.setattr(lists, "PAGE", 2)
    monkeypatch.setattr(service, "TURN", -1)
    client = staff("auditor")
    export = ordered(client, UsageEvent)
    service.write(export.pk)
    files.delete(export.uuid)

    while not service.write(export.pk):
        pass

    assert told(export).rows == 5
    assert len(read(client.get(f"/admin/export/file/{export.uuid}/"))) == 5


@pytest.mark.usefixtures("nobody_is_rung")
def test_two_workers_do_not_write_one_file(staff: Staff, settings: Settings) -> None:
    fill(1)
    settings.EXPORT_AT_ONCE = 0
    export = ordered(staff("auditor"), UsageEvent)
    Export.objects.update(lease_until=clock.real_now() + timedelta(minutes=1))

    assert service.write(export.pk)
    assert told(export).state == Export.State.WAITING
    assert service.unfinished(now=clock.real_now()) == []


@pytest.mark.usefixtures("nobody_is_rung")
@pytest.mark.parametrize("lost", ["role", "account"])
def test_who_lost_the_right_gets_nothing(staff: Staff, settings: Settings, lost: str) -> None:
    fill(1)
    settings.EXPORT_AT_ONCE = 0
    export = ordered(staff("auditor"), UsageEvent)
    if lost == "role":
        User.objects.get(username="auditor").groups.clear()
    else:
        User.objects.filter(username="auditor").update(is_active=False)

    service.write(export.pk)

    assert told(export).state == Export.State.FAILED
    assert "may not read" in export.error
    assert not files.path_of(export.uuid).exists()
    assert str(StaffAct.objects.get(uuid=export.uuid).end).startswith("failed")


@pytest.mark.usefixtures("nobody_is_rung")
def test_a_file_is_deleted_when_its_time_is_over(
    staff: Staff, settings: Settings, folder: Path
) -> None:
    fill(1)
    settings.EXPORT_AT_ONCE = 0
    client = staff("auditor")
    kept, over = ordered(client, UsageEvent), ordered(client, UsageEvent)
    for export in (kept, over):
        service.write(export.pk)
    stray = folder / f"{UUID(int=77)}.csv.part"
    stray.write_bytes(b"x")
    Export.objects.filter(pk=over.pk).update(expires_at=clock.real_now())

    assert client.get(f"/admin/export/file/{over.uuid}/").status_code == 404
    forget_exports()

    assert told(over).state == Export.State.EXPIRED
    assert {one.name for one in folder.iterdir()} == {f"{kept.uuid}.csv"}
    assert client.get(f"/admin/export/file/{kept.uuid}/").status_code == 200


def test_the_file_of_another_machine_is_said_to_be_missing(
    staff: Staff, settings: Settings
) -> None:
    fill(1)
    client = staff("auditor")
    Export.objects.update(
        maker=User.objects.get(username="auditor"),
        expires_at=clock.real_now() + django_settings.EXPORT_LIFE,
    )
    export = Export.objects.get()

    response = client.get(f"/admin/export/file/{export.uuid}/", follow=True)

    assert "EXPORT_DIR must be shared" in response.content.decode()


@pytest.mark.usefixtures("nobody_is_rung")
def test_who_waits_for_three_exports_orders_no_fourth(staff: Staff, settings: Settings) -> None:
    settings.EXPORT_AT_ONCE = 1
    fill(2)
    client, colleague = staff("auditor"), staff("support")
    for _ in range(service.MOST_RUNNING):
        ordered(client, UsageEvent)

    refused = client.post(url(UsageEvent))

    assert refused.headers["Location"] == page(Export, "changelist")
    assert Export.objects.filter(state=Export.State.WAITING).count() == service.MOST_RUNNING
    assert StaffAct.objects.filter(act="export").count() == service.MOST_RUNNING
    ordered(colleague, UsageEvent)


@pytest.mark.usefixtures("nobody_is_rung")
def test_the_oldest_files_of_who_orders_many_make_room(
    staff: Staff, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EXPORT_AT_ONCE = 1
    monkeypatch.setattr(service, "MOST_KEPT", 2)
    fill(2)
    client = staff("auditor")
    exports = []
    for _ in range(3):
        exports.append(ordered(client, UsageEvent))
        assert service.write(exports[-1].pk)

    assert [told(export).state for export in exports] == ["expired", "done", "done"]
    assert [files.path_of(export.uuid).exists() for export in exports] == [False, True, True]
