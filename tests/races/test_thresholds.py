"""Many writers cross a share of a limit at once: it is written once."""

import pytest

from config.contract import clock
from config.contract.clients import clients
from quotas.crossings import ThresholdCrossed
from quotas.models import UsageCounter
from tests.races.conftest import Length
from tests.races.crew import Crew
from tests.races.ledger import single, use
from tests.support.cast import make_org

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.torture]


def test_sixteen_writers_cross_each_share_once(crew: Crew, length: Length) -> None:
    for _ in range(length.of(3, 20)):
        org = make_org(included=100)
        org.use(40)
        clients.copy.forget(org.id)
        at = clock.now()
        calls = [single(use(org.id, f"r-{n}", at=at)) for n in range(60)]

        answers = crew.run(org.tokens.access_token, calls)

        assert {answer.status for answer in answers} == {200}
        rows = ThresholdCrossed.objects.filter(org_id=org.id, metric="api_call").order_by("used")
        assert [row.percent for row in rows] == [50, 80, 100]
        # Uses that waited for each other are counted together, and may cross it together.
        assert all(row.percent <= row.used < row.percent + 16 for row in rows)
        counter = UsageCounter.objects.get(org_id=org.id, metric="api_call")
        assert (counter.used, counter.next_threshold_at) == (100, None)
