"""Amounts for people to read."""

#: Currencies whose smallest unit is not a hundredth (docs.stripe.com/currencies).
_NO_DECIMALS = frozenset(
    ("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga")
    + ("pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf")
)
_THREE_DECIMALS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))


def shown(amount: int, currency: str) -> str:
    """Write an amount in minor units of `currency`, such as `USD 1,234.50`."""
    code = currency.lower()
    digits = 0 if code in _NO_DECIMALS else 3 if code in _THREE_DECIMALS else 2
    whole, part = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    decimals = f".{part:0{digits}d}" if digits else ""
    return f"{sign}{code.upper()} {whole:,}{decimals}"
