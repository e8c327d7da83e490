"""What to import, and what has become of it."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b

from usage.importing.fields import FieldMap
from usage.importing.filters import LineFilter
from usage.importing.units import UnitsRule
from usage.models import ImportRun


@dataclass(frozen=True, slots=True)
class ImportOrder:
    """What to import: whose log, as which metric, which lines, worth how much."""

    org_id: str
    metric: str
    source: str
    #: Whether the operator named the source; else a log that is known keeps its own.
    is_named: bool = False
    fields: FieldMap | None = None
    keep: LineFilter = field(default_factory=LineFilter)
    units: UnitsRule = field(default_factory=UnitsRule)
    shift_to_now: bool = False

    @property
    def filters(self) -> str:
        """A digest of which lines count: the same for the same choice."""
        keep = self.keep
        choice = (
            sorted(keep.prefixes), sorted(pattern.pattern for pattern in keep.patterns),
            sorted(keep.methods), sorted((each.start, each.stop) for each in keep.statuses),
        )  # fmt: skip
        return blake2b(repr(choice).encode(), digest_size=16).hexdigest()


@dataclass(slots=True)
class Summary:
    """What has become of the lines so far. `total` is known once `run` is."""

    total: int = 0
    read: int = 0
    filtered: int = 0
    without_units: int = 0
    accepted: int = 0
    units: int = 0
    duplicate: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    run: ImportRun | None = None
    #: What the log would be called if it were not known.
    source: str = ""
