"""How far an import is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from usage.importing.order import Summary

#: Seconds between two lines where there is no terminal; at verbosity 2 every step tells.
_EVERY = 5.0


@contextmanager
def progress(
    out: OutputWrapper, name: str, summary: Summary, verbosity: int
) -> Iterator[Callable[[], None]]:
    """Yield a function that shows what `summary` says now."""
    if verbosity == 0:
        yield lambda: None
    elif sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
            task = bars.add_task(f"Looking at {name}", total=None)

            def show() -> None:
                if summary.run is None:
                    bars.update(task, completed=summary.total)
                else:
                    bars.update(
                        task,
                        description=f"Counting {name}",
                        total=summary.total,
                        completed=summary.read,
                    )

            yield show
    else:
        yield _lines(out, summary, every=0.0 if verbosity > 1 else _EVERY)


def _lines(out: OutputWrapper, summary: Summary, *, every: float) -> Callable[[], None]:
    told_at = time.monotonic()

    def show() -> None:
        nonlocal told_at
        if time.monotonic() - told_at < every:
            return
        told_at = time.monotonic()
        if summary.run is None:
            out.write(f"looked at {summary.total:,} lines")
        else:
            out.write(f"{summary.read:,} of {summary.total:,} lines")
        out.flush()

    return show
