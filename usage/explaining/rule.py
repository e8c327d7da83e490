"""The rules that decide, by name: which of them an explanation found at work."""

from enum import Enum


class Rule(Enum):
    """Why the answer was what it was, with the code that the API gives (None: allowed)."""

    WITHIN_INCLUDED = ("within_included_units", None)
    OVERAGE_ALLOWED = ("overage_allowed", None)
    SPENT = ("included_units_spent", "RATE_LIMITED")
    MORE_THAN_REMAINING = ("more_than_remaining", "RATE_LIMITED")
    NOTHING_GRANTED = ("nothing_granted", "PAYMENT_REQUIRED")
    TRIAL_OVER = ("trial_over", "PAYMENT_REQUIRED")
    PAST_DUE_TOO_LONG = ("past_due_too_long", "PAYMENT_REQUIRED")
    CANCELLATION_DUE = ("cancellation_due", "PAYMENT_REQUIRED")
    NOTHING_SOLD = ("nothing_sold", "PAYMENT_REQUIRED")
    STATUS_NOT_VALID = ("status_not_valid", "PAYMENT_REQUIRED")
    SUSPENDED = ("suspended", "ORG_SUSPENDED")
    NOT_KNOWN = ("not_known", None)

    def __init__(self, word: str, code: str | None) -> None:
        self.word = word
        self.code = code

    @property
    def allows(self) -> bool | None:
        """Whether the answer is yes; None where it is not known any more."""
        return None if self is Rule.NOT_KNOWN else self.code is None
