"""The refusals of this app."""

from config.contract.errors import ApiError


class RequestIdConflict(ApiError):
    """The request id is taken by an event with other content, or by a voided one."""

    def __init__(self, *, field: str | None = None, reason: str | None = None) -> None:
        details = {"field": field} if field else {"reason": reason}
        super().__init__(
            "REQUEST_ID_CONFLICT", "The request id belongs to another event", 409, details
        )


class EventSettled(ApiError):
    """The event was counted before a reset that forgave it."""

    def __init__(self) -> None:
        super().__init__("EVENT_SETTLED", "A reset has already settled the event", 409)
