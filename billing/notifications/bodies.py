"""What the notification routes take and answer."""

from typing import Annotated

from msgspec import Meta

from billing.bodies import OrgId
from config.contract.bodies import Answer, Body


class NotificationsBody(Body):
    """Where to tell this organisation; what is left out goes back to its default."""

    org_id: OrgId
    url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    emails: Annotated[list[Annotated[str, Meta(max_length=254)]], Meta(max_length=10)] | None = None
    thresholds: Annotated[list[Annotated[int, Meta(ge=1, le=100)]], Meta(max_length=10)] | None = (
        None
    )


class NotificationsAnswer(Answer):
    """Where it is told, and at which percentages. `secret` is shown once: when it is made."""

    url: str | None
    emails: list[str]
    thresholds: list[int]
    secret: str | None = None


class SecretAnswer(Answer, omit_defaults=False):
    """The new secret; the one before it signs too until then."""

    secret: str
    previous_until: str | None
