"""A copy of a test's own: on the tests' Valkey, or on one that may be killed."""

from collections.abc import Callable, Iterator

import pytest
from django.conf import settings

from config.contract.copy import OrgCopy
from tests.races.valkeys import OwnValkey


@pytest.fixture
def copies() -> Iterator[Callable[[str], OrgCopy]]:
    """Make copies as processes have them, each with connections and memory of its own."""
    made: list[OrgCopy] = []

    def make(url: str = settings.VALKEY_URL) -> OrgCopy:
        made.append(OrgCopy(url))
        return made[-1]

    yield make
    for copy in made:
        copy.close()


@pytest.fixture
def copy(copies: Callable[..., OrgCopy]) -> OrgCopy:
    """A copy on the Valkey of this test process."""
    return copies(settings.VALKEY_URL)


@pytest.fixture
def own_valkey() -> Iterator[OwnValkey]:
    """A Valkey that a test may stop, pause and bring back."""
    server = OwnValkey()
    server.start()
    yield server
    server.close()
