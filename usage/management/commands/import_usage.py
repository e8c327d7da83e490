"""Import an access log."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from config.contract.errors import Unavailable
from usage.importing.errors import CannotImport
from usage.importing.fields import KNOWN, PRESETS, field_map
from usage.importing.filters import line_filter
from usage.importing.ids import checked, source_of
from usage.importing.logfile import STDIN, open_log
from usage.importing.order import ImportOrder, Summary
from usage.importing.rejects import RejectsFile, default_path
from usage.importing.service import import_log, is_away
from usage.importing.units import UnitsRule
from usage.management.commands._progress import progress


class Command(BaseCommand):
    """`manage.py import_usage FILE --org … --metric …`"""

    help = (
        "Count each request of an access log (Common or Combined Log Format, or JSON lines; "
        "plain, gzip, bzip2 or xz) as one use. Safe to repeat: what was counted is not counted "
        "again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("file", metavar="FILE", help="the log; - reads standard input")
        parser.add_argument("--org", required=True, help="the organisation that is charged")
        parser.add_argument("--metric", required=True, help="what is counted, such as api_call")
        parser.add_argument(
            "--source",
            help="name of the log. By default a log is known by what it holds, whatever its file "
            "is called now; all files of one --source are one log",
        )
        parser.add_argument(
            "--shift-to-now",
            action="store_true",
            help="move an old log so that its last instant is now; fixed at the first import "
            "of a source. What then lies before the current period moves to its start",
        )
        lines = parser.add_argument_group("how lines are read")
        lines.add_argument("--preset", metavar="SERVER", help=", ".join(sorted(PRESETS)))
        lines.add_argument(
            "--fields",
            metavar="NAME=FIELD,…",
            help=f"where JSON lines keep {', '.join(KNOWN)}; a dot leads into an object",
        )
        only = parser.add_argument_group("which lines (each may be repeated)")
        only.add_argument("--path", action="append", metavar="PREFIX", help="path starts with this")
        only.add_argument("--path-regex", action="append", metavar="RE", help="path contains this")
        only.add_argument("--method", action="append", help="such as GET, or GET,POST")
        only.add_argument("--status", action="append", help="such as 200, 2xx or 200-399")
        worth = parser.add_mutually_exclusive_group()
        worth.add_argument("--value", type=int, help="units per line (1)")
        worth.add_argument(
            "--units-from",
            metavar="FIELD",
            help="take the units from a field of a JSON line, or `bytes` of an access log",
        )
        parser.add_argument("--rejects", help="file for rejected lines; default: FILE.rejects")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import and tell what became of the lines."""
        summary = Summary()
        started = time.monotonic()
        try:
            order = _order(options)
            with (
                open_log(options["file"]) as log,
                RejectsFile(_rejects_path(options, order.source)) as rejects,
                progress(self.stdout, log.name, summary, options["verbosity"]) as on_progress,
            ):
                import_log(order, log, rejects=rejects, summary=summary, on_progress=on_progress)
        except (Unavailable, Error) as error:
            if not is_away(error):
                raise
            raise CommandError("The database does not answer", returncode=2) from error
        except CannotImport as error:
            if summary.run is None:
                raise CommandError(str(error), returncode=2) from error
            self._tell(summary, started)
            raise CommandError(f"{error}. What was counted stays counted.") from error
        except KeyboardInterrupt:
            self._tell(summary, started)
            raise CommandError(
                "Interrupted. Run the same command again: nothing is counted twice.",
                returncode=130,
            ) from None
        self._tell(summary, started)
        if rejects.is_used:
            raise CommandError(f"Rejected lines are in {rejects.path}", returncode=1)

    def _tell(self, summary: Summary, started: float) -> None:
        run = summary.run
        if run is not None and run.source != summary.source:
            self.stdout.write(f"{'known as':<16}{run.source:>12}")
        if run is not None and run.floor_at is not None:
            self.stdout.write(
                f"{'shifted by':<16}{run.shift_seconds:>12,} s, not before {run.floor_at:%F %T}Z"
            )
        rows = {
            "read": summary.read,
            "filtered out": summary.filtered,
            "without units": summary.without_units,
            "accepted": summary.accepted,
            "duplicate": summary.duplicate,
            "rejected": summary.rejected.total(),
        }
        if not summary.without_units:
            del rows["without units"]
        for name, number in rows.items():
            self.stdout.write(f"{name:<16}{number:>12,}")
        for reason, number in summary.rejected.most_common():
            self.stdout.write(f"{'':<16}{number:>12,}  {reason}")
        self.stdout.write(f"{'units counted':<16}{summary.units:>12,}")
        self.stdout.write(f"{'seconds':<16}{time.monotonic() - started:>12.2f}")


def _order(options: dict[str, Any]) -> ImportOrder:
    given = options["source"]
    value = options["value"]
    return ImportOrder(
        org_id=options["org"],
        metric=options["metric"],
        source=source_of(options["file"]) if given is None else checked(given),
        is_named=given is not None,
        fields=field_map(options["preset"], options["fields"]),
        keep=line_filter(
            prefixes=options["path"] or (),
            patterns=options["path_regex"] or (),
            methods=_listed(options["method"]),
            statuses=_listed(options["status"]),
        ),
        units=UnitsRule(each=1 if value is None else value, field=options["units_from"]),
        shift_to_now=options["shift_to_now"],
    )


def _listed(options: Iterable[str] | None) -> list[str]:
    return [part.strip() for option in options or () for part in option.split(",")]


def _rejects_path(options: dict[str, Any], source: str) -> Path:
    log = None if options["file"] == STDIN else Path(options["file"])
    if not options["rejects"]:
        return default_path(log, source, fallback=settings.DATA_DIR / "imports")
    path = Path(options["rejects"])
    if log is not None and path.exists() and path.samefile(log):
        raise CannotImport("--rejects is the log itself")
    return path
