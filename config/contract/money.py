"""Amounts as people write them. Everywhere else they are minor units."""

#: Currencies with another number of decimals than two, as Stripe counts them.
_DECIMALS = {
    **dict.fromkeys(
        (
            *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
            *("pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"),
        ),
        0,
    ),
    **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 3),
}


def money(amount: int, currency: str) -> str:
    """Return `amount`, in minor units of `currency`, for a person to read: `19.00 USD`."""
    places = _DECIMALS.get(currency.lower(), 2)
    whole, part = divmod(abs(amount), 10**places)
    decimals = f".{part:0{places}d}" if places else ""
    return f"{'-' if amount < 0 else ''}{whole:,}{decimals} {currency.upper()}"
