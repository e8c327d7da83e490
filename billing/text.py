"""Units, names and dates as people write them. English; instants in UTC."""

from datetime import datetime

_NBSP = "\N{NO-BREAK SPACE}"
_SPELT = {"api": "API", "cpu": "CPU", "http": "HTTP", "id": "ID", "sms": "SMS"}
_MEASURES = {"ms": "ms", "s": "s", "kb": "kB", "mb": "MB", "gb": "GB"}


def units(number: int) -> str:
    """Write a number of units with its thousands set apart."""
    return f"{number:,}"


def short(number: float) -> str:
    """Write a number in the few characters an axis has room for: `1.5M`, `20k`, `7`."""
    for size, name in ((1e9, "bn"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{name}"
    return f"{number:.3g}"


def day(at: datetime) -> str:
    """Write a day: `22 November 2026`."""
    return f"{at.day}{_NBSP}{at:%B} {at.year}"


def short_day(at: datetime) -> str:
    """Write a day where there is little room: `22 Nov 2026`."""
    return f"{at.day}{_NBSP}{at:%b}{_NBSP}{at.year}"


def weekday(at: datetime) -> str:
    """Write a day that is near: `Thursday 26 November`."""
    return f"{at:%A} {at.day}{_NBSP}{at:%B}"


def metric_name(code: str) -> str:
    """Write a metric's code as words: `api_call` is `API calls`, `compute_ms` `Compute (ms)`."""
    words = [_SPELT.get(word, word) for word in code.split("_") if word] or [code]
    if len(words) > 1 and words[-1] in _MEASURES:
        words[-1] = f"({_MEASURES[words[-1]]})"
    elif words[-1][-1].islower() and not words[-1].endswith("s"):
        words[-1] += "s"
    text = " ".join(words)
    return text[0].upper() + text[1:]
