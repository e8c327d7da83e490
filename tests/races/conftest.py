"""Real processes, real servers, and how long a race is run."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings

from tests.races.crew import Crew
from tests.races.valkeys import OwnValkey


@dataclass(frozen=True)
class Length:
    """How much work a race does: enough to see it in the gate, all of it in torture."""

    full: bool

    def of(self, short: int, full: int) -> int:
        """Return the size of this run."""
        return full if self.full else short


@pytest.fixture
def length(request: pytest.FixtureRequest) -> Length:
    """Full where the torture tests were asked for (`./dev test -m torture`)."""
    return Length("torture" in str(request.config.getoption("-m")))


@pytest.fixture(scope="package")
def crew(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """Four processes with the application loaded, on this test's database and Valkey."""
    made = Crew(4, tmp_path_factory.mktemp("crew"), VALKEY_URL=settings.VALKEY_URL)
    yield made
    made.close()


@pytest.fixture
def own_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnValkey]:
    """A Valkey that a test may stop, pause and bring back."""
    server = OwnValkey()
    server.start()
    yield server
    server.close()


@pytest.fixture
def shaken_crew(transactional_db: None, own_valkey: OwnValkey, tmp_path: Path) -> Iterator[Crew]:
    """Two processes whose Valkey is the one that the test may stop."""
    made = Crew(2, tmp_path, VALKEY_URL=own_valkey.url)
    yield made
    made.close()
