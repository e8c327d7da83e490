"""Tokens of those who are no organisation: an operator's backend, and staff."""

from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model

from config.contract import clock
from tokens import access, jwt, scopes
from tokens.authentication import staff_family

_OPERATOR = "opk_00000000000000000000000000"


def admit_the_operator() -> None:
    """Make the row by which an operator's token is known to be alive."""
    access.open_access(_OPERATOR, installation_limit=0)


def operators_token() -> str:
    """Return the token of an operator that may do everything."""
    return jwt.mint(
        subject=f"operator:{_OPERATOR}",
        org="*",
        scopes=sorted(scopes.OPERATOR),
        domain="",
        family_id=_OPERATOR,
        audience=settings.TOKEN_AUDIENCE,
        now=clock.real_now(),
    )


def staff_token(person: Any = None) -> str:
    """Return the token of a member of staff; without one, of somebody who may do everything."""
    if person is None:
        people: Any = get_user_model().objects
        person = people.filter(username="boss").first() or people.create_superuser("boss")
    return jwt.mint(
        subject=f"staff:{person.pk}",
        org="*",
        scopes=[],
        domain="",
        family_id=staff_family(person),
        audience=settings.STAFF_AUDIENCE,
        now=clock.real_now(),
    )
