"""Recovery codes: each lets its owner in once, in place of what the app shows.

Fifty random bits behind a password and the brakes of the log-in; stored as keyed hashes.
"""

import secrets
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from config.backoffice.recovery_models import RecoveryCode
from tokens.secrets import hashed

#: How many are made at once.
COUNT = 10
#: No letter or digit that is taken for another one on paper.
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
_LENGTH = 10


def renew(user: User, *, now: datetime) -> list[str]:
    """Make new codes in place of all before them, and return them: they are stored nowhere."""
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)) for _ in range(COUNT)]
    with transaction.atomic():
        forget(user)
        RecoveryCode.objects.bulk_create(
            RecoveryCode(user=user, code_hash=_hashed(user, code), created_at=now) for code in codes
        )
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def use(user: User, text: str, *, now: datetime) -> bool:
    """Use a code up, as it was typed; tells whether it was one that is good."""
    code = _typed(text)
    # One conditional UPDATE: of two that type the same code one gets in.
    return bool(
        RecoveryCode.objects.filter(
            user=user, code_hash=_hashed(user, code), used_at__isnull=True
        ).update(used_at=now)
    )


def looks_like_one(text: str) -> bool:
    """Tell whether what was typed is a recovery code, rather than what an app shows."""
    code = _typed(text)
    return len(code) == _LENGTH and set(code) <= set(_ALPHABET)


def left(user: User) -> int:
    """Return how many codes a user has that are still good."""
    return RecoveryCode.objects.filter(user=user, used_at__isnull=True).count()


def forget(user: User) -> None:
    """Take all codes of a user away."""
    RecoveryCode.objects.filter(user=user).delete()


def _typed(text: str) -> str:
    return "".join(text.split()).replace("-", "").lower()


def _hashed(user: User, code: str) -> bytes:
    return hashed(f"recovery:{user.pk}:{code}")
