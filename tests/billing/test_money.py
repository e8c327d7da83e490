"""Amounts in minor units, for people."""

import pytest

from billing.money import shown


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1900, "usd", "USD 19.00"),
        (123_456_789, "eur", "EUR 1,234,567.89"),
        (-5, "usd", "-USD 0.05"),
        (1900, "jpy", "JPY 1,900"),
        (1900, "kwd", "KWD 1.900"),
        (0, "usd", "USD 0.00"),
    ],
)
def test_an_amount_has_the_decimals_of_its_currency(amount: int, currency: str, text: str) -> None:
    assert shown(amount, currency) == text
