"""What the token routes take and answer."""

from typing import Annotated

from msgspec import Meta

from config.contract.bodies import Answer, Body


class ActivateBody(Body):
    """A one-time code."""

    activation_code: Annotated[str, Meta(min_length=1, max_length=200)]


class TokensAnswer(Answer, omit_defaults=False):
    """What an installation holds. `expiresIn` is in seconds."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    org_id: str
    scopes: list[str]
    domain: str | None


class AdminTokenBody(Body):
    """A staff log-in; `otp` where the account has a second factor."""

    username: Annotated[str, Meta(min_length=1, max_length=150)]
    password: Annotated[str, Meta(min_length=1, max_length=1024)]
    otp: Annotated[str, Meta(max_length=16)] | None = None


class AdminTokenAnswer(Answer):
    """A staff token. `expiresIn` is in seconds."""

    access_token: str
    expires_in: int
