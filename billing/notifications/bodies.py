"""What the notification routes take and answer."""

from typing import Annotated

from msgspec import Meta

from billing.bodies import Email
from config.contract.bodies import Answer, Body
from config.contract.fields import Instant, NamedOrg, Url


class NotificationsBody(Body):
    """Where to tell this organisation; what is left out goes back to its default."""

    org_id: NamedOrg
    url: (
        Annotated[str, Meta(min_length=1, max_length=2048, extra_json_schema={"format": "uri"})]
        | None
    ) = None
    emails: Annotated[list[Email], Meta(max_length=10)] | None = None
    thresholds: Annotated[list[Annotated[int, Meta(ge=1, le=100)]], Meta(max_length=10)] | None = (
        None
    )


class NotificationsAnswer(Answer):
    """Where it is told, and at which percentages. `secret` is shown once: when it is made."""

    url: Url | None
    emails: list[str]
    thresholds: list[int]
    secret: str | None = None


class NotificationsMeta(Answer):
    """There only where some of the addresses wait for their readers to agree."""

    emails_pending: list[str]


class SecretAnswer(Answer, omit_defaults=False):
    """The new secret; the one before it signs too until then."""

    secret: str
    previous_until: Instant | None
