"""What the token routes take and answer."""

from typing import Annotated

from msgspec import Meta

from config.contract.bodies import Answer, Body
from config.contract.fields import Instant, NamedOrg, OrgId


class ActivateBody(Body):
    """A one-time code."""

    activation_code: Annotated[str, Meta(min_length=1, max_length=200)]


class TokensAnswer(Answer, omit_defaults=False):
    """What an installation holds. `expiresIn` is in seconds."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    org_id: OrgId
    scopes: list[str]
    domain: str | None


class RefreshBody(Body):
    """The refresh token; it is used up by refreshing."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=200)]


class RevokedAnswer(Answer):
    """Said always: whether there was anything to revoke is nobody's business."""

    revoked: bool


class CodeBody(Body):
    """A code for a new installation, bound to a domain if named."""

    org_id: NamedOrg
    domain: Annotated[str, Meta(min_length=1, max_length=300)] | None = None
    scopes: Annotated[list[str], Meta(min_length=1, max_length=10)] | None = None


class CodeAnswer(Answer):
    """The code, shown once."""

    activation_code: str
    expires_at: Instant


class FamilyAnswer(Answer, omit_defaults=False):
    """One installation."""

    id: str
    domain: str | None
    scopes: list[str]
    created_at: Instant
    last_refreshed_at: Instant | None
    expires_at: Instant


class FamiliesAnswer(Answer):
    """The live installations, newest first."""

    families: list[FamilyAnswer]


class OperatorBody(Body):
    """An operator credential."""

    key_id: Annotated[str, Meta(min_length=1, max_length=30)]
    secret: Annotated[str, Meta(min_length=1, max_length=200)]


class OperatorAnswer(Answer):
    """A token that acts for the organisation each request names. `expiresIn` is in seconds."""

    access_token: str
    token_type: str
    expires_in: int
    scopes: list[str]


class AdminTokenBody(Body):
    """A staff log-in; `otp` (or a recovery code) where the account has a second factor."""

    username: Annotated[str, Meta(min_length=1, max_length=150)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    otp: Annotated[str, Meta(max_length=16)] | None = None


class AdminTokenAnswer(Answer):
    """A staff token. `expiresIn` is in seconds."""

    access_token: str
    expires_in: int
