"""Money, units and dates as people write them. English; instants in UTC."""

from datetime import datetime
from decimal import Decimal

#: Currencies whose minor unit is not a hundredth (Stripe's list; docs.stripe.com/currencies).
_NO_MINOR = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv")
    + ("xaf", "xof", "xpf")
)
_THOUSANDTHS = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}
_MINUS = "\N{MINUS SIGN}"
_NBSP = "\N{NO-BREAK SPACE}"
_SPELT = {"api": "API", "cpu": "CPU", "http": "HTTP", "id": "ID", "sms": "SMS"}
_MEASURES = {"ms": "ms", "s": "s", "kb": "kB", "mb": "MB", "gb": "GB"}


def money(amount: int, currency: str) -> str:
    """Write an amount of minor units: `$1,900.00`, `−€5.00`, `CHF 12.00`."""
    places = _places(currency)
    number = f"{Decimal(abs(amount)).scaleb(-places):,.{places}f}"
    return f"{_MINUS if amount < 0 else ''}{_sign(currency)}{number}"


def price(amount: int, currency: str, interval: str) -> str:
    """Write what a plan costs: `$19 per month`, without the zeros of a whole amount."""
    whole = money(amount, currency)
    return f"{whole.removesuffix('.00')} per {interval}"


def unit_price(amount: Decimal, currency: str) -> str:
    """Write what one unit costs, of minor units with fractions: `$0.0005`."""
    places = _places(currency)
    number = f"{amount.scaleb(-places).normalize():f}"
    whole, _, fraction = number.partition(".")
    return f"{_sign(currency)}{whole}.{fraction:0<{places}}" if places else _sign(currency) + number


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


def _places(currency: str) -> int:
    currency = currency.lower()
    return 0 if currency in _NO_MINOR else 3 if currency in _THOUSANDTHS else 2


def _sign(currency: str) -> str:
    return _SIGNS.get(currency.lower(), f"{currency.upper()}{_NBSP}")
