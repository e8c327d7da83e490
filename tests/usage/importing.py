"""Running the command, and logs to run it on."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.core.management.base import CommandError

from quotas.models import UsageCounter
from tests.support.cast import Org
from usage.models import UsageEvent

DATA = Path(__file__).parent / "data"
#: When the logs of these tests were written, long ago.
THEN = datetime(2015, 5, 20, 12, 0, 0, tzinfo=UTC)


@dataclass
class Outcome:
    """What the command said, and the code it would have ended with."""

    text: str
    code: int
    said: str

    def number(self, name: str) -> int:
        """Return a number of the summary."""
        found = re.search(rf"^{name} +([\d,]+)", self.text, re.MULTILINE)
        assert found, self.text or self.said
        return int(found[1].replace(",", ""))

    @property
    def accepted(self) -> int:
        return self.number("accepted")

    @property
    def duplicate(self) -> int:
        return self.number("duplicate")

    @property
    def rejected(self) -> int:
        return self.number("rejected")


def importing(log: Path | str, org: Org, *options: str, metric: str = "api_call") -> Outcome:
    """Run the command as an operator would."""
    out = StringIO()
    try:
        call_command(
            "import_usage", str(log), "--org", org.id, "--metric", metric, *options, stdout=out
        )
    except CommandError as error:
        return Outcome(out.getvalue(), error.returncode, str(error))
    return Outcome(out.getvalue(), 0, "")


def combined(
    n: int = 0,
    *,
    at: datetime = THEN,
    method: str = "GET",
    path: str = "/",
    status: int = 200,
    size: str = "512",
) -> str:
    """Return a line in Combined Log Format; `n` makes it differ from others."""
    return (
        f'192.0.2.7 - - [{at:%d/%b/%Y:%H:%M:%S %z}] "{method} {path} HTTP/1.1" {status} {size}'
        f' "-" "agent/{n}"'
    )


def lines(count: int, *, start: int = 0) -> list[str]:
    """Return different lines, one a second."""
    return [combined(n, at=THEN + timedelta(seconds=n)) for n in range(start, start + count)]


def write(path: Path, content: Iterable[str]) -> Path:
    """Write a log."""
    path.write_text("".join(f"{line}\n" for line in content))
    return path


def counted(org: Org, metric: str = "api_call") -> int:
    """Return the units all counters of an organisation hold."""
    return sum(row.counted for row in UsageCounter.objects.filter(org_id=org.id, metric=metric))


def events(org: Org) -> int:
    """Return how many events the ledger holds of an organisation."""
    return UsageEvent.objects.filter(org_id=org.id).count()
