"""Amounts as people write them: on pages, in mail, in the back office and in the sandbox.

Everywhere else they are integers of minor units, as Stripe counts them
(docs.stripe.com/currencies): what a minor unit is differs by currency.
"""

from decimal import Decimal

#: A minor unit is the whole unit.
_ZERO_DECIMAL = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv")
    + ("xaf", "xof", "xpf")
)
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
#: Without decimals in life, and with two at Stripe for the sake of old integrations: 500 is
#: UGX 5. (HUF and TWD are so in payouts alone: charges have two decimals.)
_TWO_ALWAYS_ZERO = frozenset({"isk", "ugx"})
_SIGNS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}
_MINUS = "\N{MINUS SIGN}"
_NBSP = "\N{NO-BREAK SPACE}"


def money(amount: int, currency: str) -> str:
    """Write an amount of minor units: `$1,900.00`, `−€5.00`, `CHF 12.00`. Nothing is rounded."""
    places = _places(currency)
    value = Decimal(abs(amount)).scaleb(-places)
    if currency.lower() in _TWO_ALWAYS_ZERO and amount % 100 == 0:
        places = 0
    return f"{_MINUS if amount < 0 else ''}{_sign(currency)}{value:,.{places}f}"


def price(amount: int, currency: str, interval: str) -> str:
    """Write what a plan costs: `$19 per month`, without the zeros of a whole amount."""
    whole = money(amount, currency)
    return f"{whole.removesuffix('.00')} per {interval}"


def unit_price(amount: Decimal, currency: str) -> str:
    """Write what one unit costs, of minor units with fractions: `$0.0005`."""
    places = _places(currency)
    number = f"{amount.scaleb(-places).normalize():f}"
    whole, _, fraction = number.partition(".")
    if currency.lower() in _TWO_ALWAYS_ZERO:
        places = 0
    padded = f"{fraction:0<{places}}"
    return f"{_sign(currency)}{whole}.{padded}" if padded else f"{_sign(currency)}{whole}"


def _places(currency: str) -> int:
    currency = currency.lower()
    return 0 if currency in _ZERO_DECIMAL else 3 if currency in _THREE_DECIMAL else 2


def _sign(currency: str) -> str:
    return _SIGNS.get(currency.lower(), f"{currency.upper()}{_NBSP}")
