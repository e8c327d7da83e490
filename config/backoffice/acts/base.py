"""The shape of an act: a form, what it would change, and the doing."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Model

from config.backoffice.acts.forms import ActForm, OrgActForm

#: What a form asked for, cleaned.
Asked = Mapping[str, Any]
#: What the confirmation was decided on. JSON, so that it travels in the page, signed.
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that will not be the same afterwards, in words for people."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Effect:
    """What an act would do. `facts` are what a confirmation holds for; idle changes nothing."""

    changes: list[Change]
    facts: Facts
    notes: list[str] = field(default_factory=list)
    idle: bool = False

    @property
    def rows(self) -> list[tuple[str, str, str]]:
        """The changes as the pages and the audit show them."""
        return [(one.what, one.before, one.after) for one in self.changes]


@dataclass(frozen=True, slots=True)
class By:
    """Who does it, and under which confirmation."""

    who: str
    uuid: UUID


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, as a sentence. `secret` is shown once, on a page that nobody keeps."""

    said: str
    secret: str = ""


class Act(ABC):
    """One thing that staff may do."""

    #: Names the page; stands in the audit for ever.
    name: ClassVar[str]
    title: ClassVar[str]
    #: One sentence on what it does and does not do.
    about: ClassVar[str]
    group: ClassVar[str]
    icon: ClassVar[str]
    permission: ClassVar[str]
    #: Whether the permission alone is not enough.
    superusers_only: ClassVar[bool] = False
    form: ClassVar[type[ActForm]]
    #: Takes something away from somebody, or moves money.
    dangerous: ClassVar[bool] = False
    #: Model label → what the form begins with where the act is offered on a row's page;
    #: None for a row that it does not fit.
    rows: ClassVar[Mapping[str, Callable[[Any], dict[str, str] | None]]] = {}

    def open_to(self, user: User | AnonymousUser) -> bool:
        """Tell whether a member of staff may do it."""
        return user.has_perm(self.permission) and (user.is_superuser or not self.superusers_only)

    @abstractmethod
    def effect(self, asked: Asked) -> Effect:
        """Return what doing it now would change; writes nothing. Raises ApiError."""

    @abstractmethod
    def do(self, asked: Asked, shown: Facts, by: By) -> Done:
        """Do it, by one call of a service. `shown` is what was confirmed. Raises ApiError."""

    def still_holds(self, shown: Facts, now: Facts) -> bool:
        """Tell whether what was confirmed is still what would happen."""
        return shown == now

    def org_of(self, asked: Asked) -> str:
        """Return the organisation it is about; empty where it is about none."""
        return str(asked.get("org_id") or "")

    def fits(self, row: Model) -> dict[str, str] | None:
        """Return what the form begins with for a row; None where the act does not fit it."""
        begin = self.rows.get(row._meta.label)
        return begin(row) if begin else None


def of_its_org(row: Any) -> dict[str, str] | None:
    """Begin with the row's organisation, where it is somebody's."""
    return {"org_id": row.org_id} if row.org_id else None


#: Pages on which everything is offered that can be done for an organisation.
ORG_PAGES: Mapping[str, Callable[[Any], dict[str, str] | None]] = {
    "billing.Organization": of_its_org,
    "quotas.Entitlement": of_its_org,
}


class OrgAct(Act):
    """Something done for, or to, one organisation."""

    form: ClassVar[type[ActForm]] = OrgActForm
    rows = ORG_PAGES

    def suits(self, org_id: str) -> bool:
        """Tell whether it makes sense to offer it as the organisation stands."""
        return True

    def fits(self, row: Model) -> dict[str, str] | None:
        """Return what the form begins with; None also where it does not suit."""
        begin = super().fits(row)
        return begin if begin and self.suits(begin["org_id"]) else None
