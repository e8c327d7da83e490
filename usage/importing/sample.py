"""Whether a file begins in the middle of a log that was counted: the ledger knows its lines."""

from collections import deque
from collections.abc import Iterable, Sequence

from usage.importing.identity import KnownLog, digest_of
from usage.importing.ids import event_id
from usage.importing.repeats import fingerprint
from usage.models import UsageEvent

#: As many lines of the beginning, and of the end, are looked up in the ledger.
SAMPLE = 256
#: As many lines in a row are no coincidence of two logs.
_IN_A_ROW = 8


class Sample:
    """Lines that would count, of a file's beginning and of its end."""

    def __init__(self) -> None:
        self._first: list[bytes] = []
        self._last: deque[bytes] = deque(maxlen=SAMPLE)
        self.total = 0

    def add(self, raw: bytes) -> None:
        """Take in the next line that would count."""
        self.total += 1
        if len(self._first) < SAMPLE:
            self._first.append(raw)
        else:
            self._last.append(raw)

    def counted_in(self, known: Sequence[KnownLog], *, filters: str) -> KnownLog | None:
        """Return the log in whose middle the file begins; None where there is none."""
        keys = {log.key: log for log in known}
        whole: dict[tuple[int, str], list[KnownLog]] = {}
        for log in known:
            whole.setdefault(log.key, []).append(log)
        best: tuple[int, KnownLog] | None = None
        for key, log in keys.items():
            hits = self._hits(log)
            if not hits:
                continue
            strict = all(row.whole_for in ("", filters) for row in whole[key])
            if strict and not self._continues(whole[key], hits):
                continue
            if best is None or len(hits) > best[0]:
                best = (len(hits), log)
        return None if best is None else best[1]

    def _hits(self, log: KnownLog) -> set[bytes]:
        ids = {
            event_id(log.run.source, raw, 1, log.part): raw for raw in (*self._first, *self._last)
        }
        rows = UsageEvent.objects.filter(org_id=log.run.org_id, request_id__in=list(ids))
        return {ids[request_id] for request_id in rows.values_list("request_id", flat=True)}

    def _continues(self, logs: Iterable[KnownLog], hits: set[bytes]) -> bool:
        # Every line of these logs is in the ledger. So a copy of one's middle begins with
        # many that are there, or is at an end where the log is; two servers that
        # answered the same client in the same second share a line here and there.
        in_a_row = next(
            (at for at, raw in enumerate(self._first) if raw not in hits), len(self._first)
        )
        if in_a_row >= _IN_A_ROW or in_a_row == self.total > 0:
            return True
        last = digest_of(fingerprint(self._first[in_a_row - 1])) if in_a_row else ""
        return any(last in log.tails for log in logs)
