"""The refusals of this app."""

from config.contract.bodies import rfc3339
from config.contract.errors import ApiError, ValidationFailed
from quotas.denials import Numbers, http_date


class QuotaExceeded(ApiError):
    """The standard denial (api.md section 4): the included units are used up."""

    def __init__(self, numbers: Numbers, *, rate_limit_headers: dict[str, str]) -> None:
        super().__init__(
            "RATE_LIMITED",
            "Quota exceeded",
            429,
            {
                "metric": numbers.metric,
                "periodKey": numbers.period_key,
                "includedUnits": numbers.limit,
                "used": numbers.used,
                "resetsAt": rfc3339(numbers.resets_at),
            },
            data={"allow": False, "remaining": 0},
            headers={"Retry-After": http_date(numbers.resets_at), **rate_limit_headers},
        )
        self.numbers = numbers


class PaymentRequired(ApiError):
    """The organisation has no valid subscription: nothing is sold to it."""

    def __init__(self) -> None:
        super().__init__(
            "PAYMENT_REQUIRED",
            "The organisation has no valid subscription",
            402,
            data={"allow": False, "remaining": 0},
        )


class OutsideWindow(ValidationFailed):
    """`occurredAt` is too far ahead, or in a period that takes no more events."""

    def __init__(self) -> None:
        super().__init__(
            {"occurredAt": ["Outside the periods that take events now"]},
        )
