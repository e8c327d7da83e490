"""A person can read why an entitlement is what it is, and which event it is owed to."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.sandbox.server import Control
from tests.webhooks.cast import deliver, news, sign_up, work_off

pytestmark = pytest.mark.django_db(transaction=True)


def story(org_id: str) -> str:
    out = StringIO()
    call_command("history", "--org", org_id, stdout=out)
    return out.getvalue()


def test_the_story_of_an_organisation_names_the_event_each_change_is_owed_to(
    sandbox: Control,
) -> None:
    owner = sign_up()
    before = len(sandbox.events())
    sandbox.travel(days=15)
    [renewed] = [
        one
        for one in news(sandbox, since=before)
        if one["type"] == "customer.subscription.updated"
        and one["data"]["object"]["status"] == "active"
    ]

    deliver(renewed, **{"x-request-id": "req-7"})
    work_off()

    told = story(owner.id)
    assert "Went from trialing to active." in told
    assert f"because of customer.subscription.updated {renewed['id']}" in told
    assert "status: trialing -> active" in told


def test_an_organisation_that_does_not_exist_has_no_story() -> None:
    with pytest.raises(CommandError, match="There is no organisation org_x"):
        story("org_x")
