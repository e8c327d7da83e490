"""The log as a collector sees it: through the real formatter, at DEBUG, line by line."""

import importlib
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings


class Captured:
    """What was logged."""

    def __init__(self, buffer: io.StringIO) -> None:
        self._buffer = buffer

    @property
    def text(self) -> str:
        """Everything, as it was written."""
        return self._buffer.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Each line, which must be one JSON object."""
        found = [json.loads(line) for line in self.text.splitlines()]
        assert all(isinstance(line, dict) for line in found)
        return found


@contextmanager
def logged() -> Iterator[Captured]:
    """Capture all that is logged inside the block, by every logger that may speak at DEBUG."""
    buffer = io.StringIO()
    handler = logging.StreamHandler(buffer)
    handler.setFormatter(_formatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield Captured(buffer)
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def _formatter() -> logging.Formatter:
    # As logging.config makes it from the setting.
    setting = dict(settings.LOGGING["formatters"]["json"])
    factory = setting.pop("()")
    if isinstance(factory, str):
        module, _, name = factory.rpartition(".")
        factory = getattr(importlib.import_module(module), name)
    made: logging.Formatter = factory(**setting)
    return made
