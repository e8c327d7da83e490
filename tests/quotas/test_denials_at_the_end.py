"""A process that is stopped writes down what it denied a moment before."""

import http.client
import json
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from quotas.denial_models import Denial, DeniedRequest
from tests.support.cast import make_org
from tests.support.live import env_of_web, web

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_web_process_that_is_stopped_leaves_no_denial_unwritten() -> None:
    org = make_org(included=0)
    # Its own thread would come too late: only the end of the process can write.
    with web(env_of_web(DENIAL_FLUSH="600", PUBLIC_URL=settings.PUBLIC_URL)) as live:
        link = http.client.HTTPConnection(urlsplit(live.base).netloc, timeout=10)
        for number in range(3):
            link.request(
                "POST",
                "/api/quota/check",
                json.dumps({"orgId": org.id, "metric": "api_call"}),
                {
                    **org.headers(),
                    "Content-Type": "application/json",
                    "x-request-id": f"r-{number}",
                },
            )
            answer = link.getresponse()
            answer.read()
            assert answer.status == 429
        assert not Denial.objects.exists()
        link.close()

    assert sum(row.count for row in Denial.objects.all()) == 3
    assert {one.request_id for one in DeniedRequest.objects.all()} == {"r-0", "r-1", "r-2"}
