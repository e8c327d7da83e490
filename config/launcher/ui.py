"""What the launcher says, and the one kind of failure it explains itself."""

from __future__ import annotations

import os
import sys
from typing import TextIO

RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = 31, 32, 33, 34, 35, 36
BOLD, DIM = 1, 2


class Refusal(Exception):
    """The launcher cannot go on; the message is one sentence for the person typing."""


def colourful(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


def paint(text: str, code: int, stream: TextIO) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colourful(stream) else text


def say(text: str) -> None:
    print(text, flush=True)


def step(text: str) -> None:
    """One line of progress; on stderr, so that `./dev manage … > file` stays clean."""
    print(paint(f"· {text}", DIM, sys.stderr), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    print(paint(text, YELLOW, sys.stderr), file=sys.stderr, flush=True)


def complain(text: str) -> None:
    print(paint(text, RED, sys.stderr), file=sys.stderr, flush=True)
