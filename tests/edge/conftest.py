"""A web process as it is shipped, one for all tests here: starting one takes seconds."""

from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.support.live import Live, env_of_web, web


@pytest.fixture(scope="session")
def served(django_db_setup: None) -> Iterator[Live]:
    """A web process on the tests' database that gives bodies little time and knows one name."""
    env = env_of_web(
        WEB_BODY_SECONDS="1",
        PUBLIC_URL=settings.PUBLIC_URL,
        ALLOWED_HOSTS="metergate.example.com",
        TRUSTED_PROXIES="1",
        THROTTLE_TOKENS="2/hour",
    )
    with web(env) as live:
        yield live
