"""A restored database wins over a copy that knew more."""

import pytest
from django.core.management import call_command

from config.contract.clients import clients
from quotas import snapshots
from quotas.models import UsageCounter
from quotas.snapshots import installation_epoch
from tests.support.cast import Org, data
from tokens import access
from tokens.access import AuthSummary

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_raised_epoch_wins_over_a_copy_with_a_higher_version(
    org: Org, capsys: pytest.CaptureFixture[str]
) -> None:
    org.use(500)
    counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")
    counter.version, counter.counted = 1_000_000, 9_999
    snapshots.publish(org.id, [snapshots.of_row(counter, installation_epoch())])
    assert data(org.check())["remaining"] == 1

    call_command("raise_copy_epoch")
    org.use(1)

    assert data(org.check())["remaining"] == 9_499
    assert capsys.readouterr().out == "epoch 2\n"


def test_it_wins_over_an_access_summary_with_a_higher_generation_too(org: Org) -> None:
    # What was revoked in a future that the restored database does not know.
    lost = AuthSummary(epoch=1, generation=1_000_000, suspended=True, revoked=[])
    clients.copy.publish(org.id, [access._field(lost)])
    assert org.check().status_code == 403

    call_command("raise_copy_epoch")
    access.publish(org.id)

    assert data(org.check())["allow"] is True
