"""How long a test runs: enough to see it in the gate, all of it where it was asked for."""

import os
from dataclasses import dataclass

import pytest

#: Set for this process and its children where the torture tests were asked for.
_AT_LENGTH = "METERGATE_TEST_AT_LENGTH"


def pytest_configure(config: pytest.Config) -> None:
    """Take note of `./dev test -m torture`, before any test is read."""
    if "torture" in str(config.getoption("-m")):
        os.environ[_AT_LENGTH] = "1"


def at_length() -> bool:
    """Tell whether tests run at full length; known as soon as a test module is read."""
    return _AT_LENGTH in os.environ


@dataclass(frozen=True)
class Length:
    """How much work a test does."""

    full: bool

    def of(self, short: int, full: int) -> int:
        """Return the size of this run."""
        return full if self.full else short


@pytest.fixture
def length() -> Length:
    """Full where the torture tests were asked for (`./dev test -m torture`)."""
    return Length(at_length())
