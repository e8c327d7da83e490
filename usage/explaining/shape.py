"""What an explanation consists of. Every renderer shows this and nothing else."""

from dataclasses import dataclass, field
from datetime import datetime

from quotas.denial_models import DeniedRequest
from quotas.models import Overage
from quotas.periods import Period
from usage.explaining.rule import Rule
from usage.models import UsageEvent, UsageVoid


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers of one period at one instant. What is None is not known any more.

    `planned` is what the plan included, `adjusted` the sum of what staff granted or
    took, `forgiven` of what resets took off the books.
    """

    period: Period
    planned: int | None
    adjusted: int | None
    forgiven: int | None
    used: int | None
    included: int
    overage: str
    version: int | None = None

    @property
    def remaining(self) -> int | None:
        """Units left, never negative."""
        return None if self.used is None else max(0, self.included - self.used)

    @property
    def goes_on(self) -> bool:
        """Whether use past the included units is allowed."""
        return self.overage == Overage.ALLOW


@dataclass(frozen=True, slots=True)
class Standing:
    """The subscription at one instant, as the entitlement said it then.

    `because` names what set the status, `request_id` the request that did.
    `ends_at` is when access ends by time alone, `ends_by` what ends it.
    """

    plan_code: str
    status: str
    since: datetime
    because: str
    request_id: str
    has_access: bool
    trial_ends_at: datetime | None
    ends_at: datetime | None
    ends_by: str
    scheduled_plan: str
    scheduled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Suspended:
    """Since when, and why, an organisation may not call at all."""

    since: datetime
    reason: str
    who: str


@dataclass(frozen=True, slots=True)
class CountedUse:
    """A use that was counted: its row, its void, and others that look the same."""

    event: UsageEvent
    void: UsageVoid | None
    twins: list[str]


@dataclass(frozen=True, slots=True)
class Happening:
    """One entry of the timeline. `kind` picks the icon; `mark` is the instant explained."""

    at: datetime
    kind: str
    text: str
    detail: str = ""
    mark: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why something was or would be allowed or denied."""

    org_id: str
    metric: str
    at: datetime
    now: datetime
    value: int
    rule: Rule
    decided_by: str
    figures: Figures | None
    standing: Standing | None
    suspended: Suspended | None
    #: What was asked for by an id: at most one of these two is what is explained.
    request: DeniedRequest | None = None
    use: CountedUse | None = None
    #: Others under the same id, newest first.
    also_denied: list[DeniedRequest] = field(default_factory=list)
    also_counted: CountedUse | None = None
    timeline: list[Happening] = field(default_factory=list)
    #: What cannot be said any more, in sentences.
    gaps: list[str] = field(default_factory=list)

    @property
    def happened(self) -> bool:
        """Whether this tells of a request that came, and not of what one would meet."""
        return self.request is not None or self.use is not None

    @property
    def is_now(self) -> bool:
        """Whether this tells of the present, and not of the past or of what is ahead."""
        return not self.happened and self.at == self.now

    @property
    def resets_at(self) -> datetime | None:
        """When the next period begins."""
        return self.figures.period.end if self.figures else None
