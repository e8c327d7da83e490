"""Staff change what an organisation is called and where its owner is written to."""

import pytest
from django.core import mail

from billing import tasks
from billing.contact.models import EmailChange
from billing.models import Organization
from config.backoffice.models import StaffAct
from tests.backoffice.acting import REASON, Staff, confirm, look
from tests.support.cast import Org

pytestmark = pytest.mark.django_db(transaction=True)
ACT = "change-contact"


def test_name_and_address_are_shown_before_they_change_and_the_old_address_is_told(
    staff: Staff, org: Org
) -> None:
    client = staff("billing admin")
    before = Organization.objects.get(org_id=org.id)

    looked = look(client, ACT, org_id=org.id, name="日本　株式会社", email="desk@acme.example")
    unchanged = Organization.objects.get(org_id=org.id)
    confirm(client, ACT, looked)
    tasks.mail_contacts()

    after = Organization.objects.get(org_id=org.id)
    assert unchanged.name == before.name
    assert looked.changes == {
        "Name": (before.name, "日本　株式会社"),
        "E-mail": (before.email, "desk@acme.example"),
    }
    assert (after.name, after.email) == ("日本　株式会社", "desk@acme.example")
    assert after.contact_on_its_way
    assert [one.to for one in mail.outbox] == [[before.email]]
    assert StaffAct.objects.get(act=ACT).reason == REASON
    assert EmailChange.objects.get().source == "staff"


def test_what_the_api_refuses_staff_cannot_write_either(staff: Staff, org: Org) -> None:
    looked = look(
        staff("billing admin"), ACT, org_id=org.id, name="a\u202eb", email="İlker@acme.example"
    )

    assert not looked.can_be_confirmed
    assert "bidi" in looked.text
    assert "outside ASCII" in looked.text


def test_an_act_that_changes_nothing_cannot_be_confirmed(staff: Staff, org: Org) -> None:
    name = Organization.objects.get(org_id=org.id).name

    looks = [
        look(staff("billing admin"), ACT, org_id=org.id),
        look(staff("superuser"), ACT, org_id=org.id, name=name),
    ]

    assert not any(one.can_be_confirmed for one in looks)


@pytest.mark.parametrize("role", ["auditor", "support"])
def test_only_who_may_move_plans_may_change_it(staff: Staff, org: Org, role: str) -> None:
    answer = look(staff(role), ACT, org_id=org.id, name="New").response

    assert answer.status_code == 403
    assert Organization.objects.get(org_id=org.id).name != "New"
