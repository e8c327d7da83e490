"""What the doctor says of one thing it looked at."""

from dataclasses import dataclass

#: Keys that charge real money, and those that charge nobody.
LIVE_KEYS = ("sk_live_", "rk_live_")
TEST_KEYS = ("sk_test_", "rk_test_")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `detail` says what is there, and what is wrong with it."""

    what: str
    ok: bool
    detail: str


def judged(what: str, faults: list[str], *, fine: str) -> Finding:
    """Return a fault that names all that is wrong, or the finding that nothing is."""
    return Finding(what, not faults, "; ".join(faults) if faults else fine)
