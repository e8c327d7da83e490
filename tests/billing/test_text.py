"""Money, units and names as people write them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing import money, text


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (1900, "usd", "$19.00"),
        (0, "USD", "$0.00"),
        (-500, "eur", "−€5.00"),
        (123456789, "gbp", "£1,234,567.89"),
        (1, "usd", "$0.01"),
        (1234, "jpy", "¥1,234"),
        (12345, "kwd", "KWD 12.345"),
        (1200, "chf", "CHF 12.00"),
        (2**63, "usd", "$92,233,720,368,547,758.08"),
        # As Stripe counts them: two decimals that are always zero,
        (500, "ugx", "UGX 5"),
        (-1_234_500, "ISK", "−ISK 12,345"),
        # which nothing rounds away should they not be;
        (550, "ugx", "UGX 5.50"),
        # two in charges, none in payouts;
        (1050, "huf", "HUF 10.50"),
        (50000, "twd", "TWD 500.00"),
        # none, and three.
        (1234, "krw", "KRW 1,234"),
        (5120, "kwd", "KWD 5.120"),
    ],
)
def test_money_is_written_in_its_currencys_own_units(
    amount: int, currency: str, written: str
) -> None:
    assert money.money(amount, currency).replace("\N{NO-BREAK SPACE}", " ") == written


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [(1900, "usd", "$19 per month"), (1950, "usd", "$19.50 per month"), (9, "jpy", "¥9 per month")],
)
def test_a_price_leaves_out_the_zeros_of_a_whole_amount(
    amount: int, currency: str, written: str
) -> None:
    assert money.price(amount, currency, "month") == written


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("0.05", "usd", "$0.0005"),
        ("150", "usd", "$1.50"),
        ("100", "eur", "€1.00"),
        ("0.000000000001", "usd", "$0.00000000000001"),
        ("1.500000000000", "usd", "$0.015"),
        ("0.5", "jpy", "¥0.5"),
        ("12", "jpy", "¥12"),
        ("0", "usd", "$0.00"),
        ("500", "ugx", "UGX 5"),
        ("50", "ugx", "UGX 0.5"),
    ],
)
def test_the_price_of_a_unit_keeps_its_fractions(amount: str, currency: str, written: str) -> None:
    assert money.unit_price(Decimal(amount), currency).replace("\N{NO-BREAK SPACE}", " ") == written


@pytest.mark.parametrize(
    ("number", "written"),
    [(0, "0"), (7, "7"), (999, "999"), (1000, "1k"), (1500, "1.5k"), (2e6, "2M"), (4e9, "4bn")],
)
def test_an_axis_is_short(number: float, written: str) -> None:
    assert text.short(number) == written


@pytest.mark.parametrize(
    ("code", "written"),
    [
        ("api_call", "API calls"),
        ("compute_ms", "Compute (ms)"),
        ("ms", "Ms"),
        ("sms", "SMS"),
        ("active_users", "Active users"),
        ("storage_gb", "Storage (GB)"),
        ("_", "_"),
        ("http2", "Http2"),
    ],
)
def test_a_metric_is_called_by_words(code: str, written: str) -> None:
    assert text.metric_name(code) == written


def test_days_are_written_out() -> None:
    at = datetime(2026, 11, 5, 23, 59, tzinfo=UTC)

    assert text.day(at).replace("\N{NO-BREAK SPACE}", " ") == "5 November 2026"
    assert text.weekday(at).replace("\N{NO-BREAK SPACE}", " ") == "Thursday 5 November"
