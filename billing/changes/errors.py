"""The refusals of plan changes."""

from config.contract.errors import ApiError


class PlanChangeConflict(ApiError):
    """The subscription is not in a state from which this change makes sense."""

    def __init__(self, message: str, details: dict[str, str] | None = None) -> None:
        super().__init__("PLAN_CHANGE_CONFLICT", message, 409, details)


class CheckoutNotCompleted(PlanChangeConflict):
    """There is no subscription yet: the sign-up's payment page was never completed.

    The message and the details name the two ways on.
    """

    def __init__(self) -> None:
        super().__init__(
            "The sign-up's payment page is not completed: open a new one with"
            " POST /api/plans/checkout, or subscribe with POST /api/plans/subscribe",
            {"reason": "checkout_not_completed"},
        )


class PlanChangeInProgress(ApiError):
    """Another change of the organisation is being worked on."""

    def __init__(self) -> None:
        super().__init__(
            "PLAN_CHANGE_IN_PROGRESS",
            "Another plan change is being worked on",
            409,
            headers={"Retry-After": "1"},
        )


class PreviewStale(ApiError):
    """What was previewed is not what would be charged now."""

    def __init__(self) -> None:
        super().__init__("PREVIEW_STALE", "The preview no longer holds; ask for a new one", 409)
