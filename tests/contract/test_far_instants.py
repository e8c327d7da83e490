"""Instants at the edges of the calendar are refused by name, wherever one may be given."""

from typing import Any
from urllib.parse import quote

import pytest

from quotas.models import PeriodRule
from tests.contract.refusals import refused_fields
from tests.support.cast import Org, make_org
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

FAR = [
    *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00-23:59", "0001-12-31T23:59:59.999999Z"),
    *("1899-12-31T23:59:59.999999Z", "1900-01-01T00:00:00+00:01", "3000-01-01T00:00:00Z"),
    *("2999-12-31T23:59:59-00:01", "9998-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
    "9999-12-31T23:59:59.999999+23:59",
]
EDGES = ["1900-01-01T00:00:00Z", "2999-12-31T23:59:59.999999Z"]
#: Each query that takes an instant, and how it calls it.
QUERIES = [
    ("/api/quota/explain?metric=api_call&at={}", "at"),
    ("/api/v1/usage?from={}", "from"),
    ("/api/v1/usage?metric=api_call&to={}", "to"),
    ("/api/v1/usage/series?metric=api_call&from={}", "from"),
    ("/api/v1/usage/series?metric=api_call&by=hour&to={}", "to"),
]


@pytest.mark.parametrize("rule", PeriodRule.values)
def test_a_far_instant_is_refused_by_every_query_that_takes_one(rule: str, db: Any) -> None:
    org = make_org(period_rule=rule)

    for path, name in QUERIES:
        for text in FAR:
            response = org.get(path.format(quote(text)))

            assert refused_fields(response) == {name}, (path, text)


@pytest.mark.parametrize("rule", PeriodRule.values)
def test_the_first_and_the_last_instant_are_answered(rule: str, db: Any) -> None:
    org = make_org(period_rule=rule)

    for path, name in QUERIES:
        for text in EDGES:
            response = org.get(path.format(quote(text)))

            # A series of so many points is refused as one.
            assert response.status_code in ((200,) if "series" not in path else (200, 400))
            assert response.status_code == 200 or refused_fields(response) <= {name, "to"}


def test_a_far_instant_is_refused_in_a_body(org: Org) -> None:
    for text in FAR:
        assert refused_fields(org.use(occurredAt=text)) == {"occurredAt"}, text
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_forged_cursor_with_a_far_instant_is_refused(at: str, org: Org) -> None:
    import base64

    cursor = base64.urlsafe_b64encode(f"{at}|1".encode()).decode().rstrip("=")

    assert refused_fields(org.get(f"/api/v1/usage?cursor={cursor}")) == {"cursor"}
