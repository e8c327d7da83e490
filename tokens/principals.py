"""Who is calling."""

from dataclasses import dataclass, field
from typing import Any

ANY_ORG = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """A caller that authenticated with a token.

    `org_id` is `*` for an operator credential, which acts for the organisation
    that each request names. `copy` is the organisation's fast copy as it was read
    to let the caller in, so that no handler has to read it again.
    """

    subject: str
    org_id: str
    scopes: frozenset[str]
    domain: str
    family_id: str
    copy: dict[str, bytes] | None = field(default=None, repr=False, compare=False)

    #: DRF asks for it.
    is_authenticated: bool = True

    @property
    def is_operator(self) -> bool:
        """Whether the caller may name the organisation it acts for."""
        return self.org_id == ANY_ORG

    def __str__(self) -> str:
        return self.subject


@dataclass(frozen=True, slots=True)
class StaffPrincipal:
    """A member of staff, by session or by a staff token."""

    user: Any
    is_authenticated: bool = True

    def __str__(self) -> str:
        return f"staff:{self.user.pk}"
