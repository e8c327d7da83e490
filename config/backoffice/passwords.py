"""Passwords that a guesser tries first although they are long enough.

Django's list of common passwords holds next to none of twelve characters, so that
`password2026!` passes it. Here a password is taken apart into what a guesser puts
together: common passwords, words of this product, the name of the account.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.contrib.auth.password_validation import CommonPasswordValidator
from django.core.exceptions import ValidationError

#: Words that say where somebody works and as what; worth nothing in a password here.
CONTEXT_WORDS = (
    "metergate",
    "metered",
    "metering",
    "usage",
    "quota",
    "billing",
    "stripe",
    "admin",
    "administrator",
    "auditor",
    "support",
    "staff",
    "root",
    "superuser",
    "operator",
)
#: What a password must come to: a character that is in no guessable part counts one, a common
#: password one knows by heart as much as four, and what is repeated counts once.
LEAST_WEIGHT = 10
_WORD_WEIGHT = 4
_SHORTEST_WORD = 4
_LEET = str.maketrans("013457@$!", "oleastasi")


class GuessablePasswordValidator:
    """Refuses what is put together of a few guessable parts. Any characters are welcome."""

    def validate(self, password: str, user: Any = None) -> None:
        """Raise ValidationError for a password that comes to too little."""
        worthless = {*CONTEXT_WORDS, *_words_of(user)}
        plain = password.casefold()
        weight = min(_weight(plain, worthless), _weight(plain.translate(_LEET), worthless))
        if weight < LEAST_WEIGHT:
            raise ValidationError(self.get_help_text(), code="password_guessable")

    def get_help_text(self) -> str:
        """Say what is refused."""
        return (
            "It must not be made of a few common passwords, numbers, your name or words of"
            " this product. Four words that have nothing to do with each other are good."
        )


def _weight(text: str, worthless: set[str]) -> int:
    common, longest = _common()
    parts: set[str] = set()
    letters: set[str] = set()
    at = 0
    while at < len(text):
        part = _guessable_at(text, at, common, worthless, longest)
        if part:
            parts.add(part)
            at += len(part)
        else:
            letters.add(text[at])
            at += 1
    return _WORD_WEIGHT * len(parts - worthless) + len(letters)


def _guessable_at(
    text: str, at: int, common: frozenset[str], worthless: Iterable[str], longest: int
) -> str:
    """Return the longest guessable part that begins there; empty where none does."""
    for length in range(min(longest, len(text) - at), _SHORTEST_WORD - 1, -1):
        part = text[at : at + length]
        if part in common or part in worthless:
            return part
    return ""


def _words_of(user: Any) -> set[str]:
    """Return the words of an account: of its names and its address."""
    names = ("username", "first_name", "last_name", "email")
    texts = (str(getattr(user, name, None) or "") for name in names)
    words = (word for text in texts for word in re.split(r"[\W_]+", text.casefold()))
    return {word for word in words if len(word) >= _SHORTEST_WORD}


@lru_cache(maxsize=1)
def _common() -> tuple[frozenset[str], int]:
    words = frozenset(CommonPasswordValidator().passwords)
    return words, max(map(len, words))
