"""How long a test runs: enough to see it in the gate, all of it where it was asked for."""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Length:
    """How much work a test does."""

    full: bool

    def of(self, short: int, full: int) -> int:
        """Return the size of this run."""
        return full if self.full else short


@pytest.fixture
def length(request: pytest.FixtureRequest) -> Length:
    """Full where the torture tests were asked for (`./dev test -m torture`)."""
    return Length("torture" in str(request.config.getoption("-m")))
