"""Instants, metrics and request ids at the edges of what they may be."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from config.contract import clock
from quotas.models import PeriodRule
from tests.contract.refusals import ECHO, refused_fields
from tests.contract.state import nothing_written
from tests.support.cast import Org, data, error, make_org
from usage.models import UsageEvent

pytestmark = pytest.mark.django_db(transaction=True)

BAD_INSTANTS = {
    "nothing": "",
    "a word": ECHO,
    "no offset": "2026-11-22T10:00:00",
    "no offset, with a fraction": "2026-11-22T10:00:00.5",
    "a date": "2026-11-22",
    "a date with an offset": "2026-11-22Z",
    "no seconds": "2026-11-22T10:00Z",
    "the basic format": "20261122T100000Z",
    "a week date": "2026-W47-7T10:00:00Z",
    "an ordinal date": "2026-326T10:00:00Z",
    "seven digits of fraction": "2026-11-22T10:00:00.1234567Z",
    "nine digits of fraction": "2026-11-22T10:00:00.123456789Z",
    "a fraction without digits": "2026-11-22T10:00:00.Z",
    "a decimal comma": "2026-11-22T10:00:00,5Z",
    "a leap second": "2016-12-31T23:59:60Z",
    "hour 24": "2026-11-22T24:00:00Z",
    "hour 25": "2026-11-22T25:00:00Z",
    "minute 60": "2026-11-22T10:60:00Z",
    "month 13": "2026-13-01T10:00:00Z",
    "month 0": "2026-00-01T10:00:00Z",
    "30 February": "2026-02-30T10:00:00Z",
    "29 February of a common year": "2026-02-29T10:00:00Z",
    "year 0": "0000-01-01T00:00:00Z",
    "a negative year": "-001-01-01T00:00:00Z",
    "a year of five digits": "10000-01-01T00:00:00Z",
    "beyond the last instant by its offset": "9999-12-31T23:59:59-01:00",
    "before the first instant by its offset": "0001-01-01T00:00:00+01:00",
    "an offset without a colon": "2026-11-22T10:00:00+0100",
    "an offset of hours": "2026-11-22T10:00:00+01",
    "an offset of 24 hours": "2026-11-22T10:00:00+24:00",
    "an offset of 60 minutes": "2026-11-22T10:00:00+01:60",
    "an offset with seconds": "2026-11-22T10:00:00+01:00:30",
    "a zone by name": "2026-11-22T10:00:00 UTC",
    "two offsets": "2026-11-22T10:00:00Z+01:00",
    "blanks around it": " 2026-11-22T10:00:00Z ",
    "a line feed behind it": "2026-11-22T10:00:00Z\n",
    "digits that are not ASCII": "２０２６-11-22T10:00:00Z",
    "another separator": "2026-11-22_10:00:00Z",
    "seconds since 1970": "1795341600",
    "more than any instant takes": "2026-11-22T10:00:00." + "1" * 40 + "Z",
}


@pytest.mark.parametrize("text", BAD_INSTANTS.values(), ids=BAD_INSTANTS.keys())
def test_an_instant_that_is_none_is_refused(text: str, org: Org) -> None:
    with nothing_written():
        response = org.use(occurredAt=text)

    assert refused_fields(response) == {"occurredAt"}


def test_bad_instants_reject_their_events_alone(org: Org) -> None:
    at = clock.now().isoformat()
    events = [
        {"metric": "api_call", "value": 1, "occurredAt": written, "request_id": f"r{n}"}
        for n, written in enumerate([at, *BAD_INSTANTS.values(), at])
    ]

    answer = data(org.post("/api/v1/usage/batch", {"orgId": org.id, "events": events}))

    first, *between, last = answer["results"]
    assert (first["status"], last["status"]) == ("accepted", "accepted")
    assert {one["status"] for one in between} == {"rejected"}
    assert {one["error"]["code"] for one in between} == {"VALIDATION_ERROR"}


@pytest.mark.parametrize("rule", PeriodRule.values)
@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00Z",
        "0001-12-31T23:59:59.999999Z",
        "1969-12-31T23:59:59Z",
        "9998-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T23:59:59+23:59",
    ],
)
def test_an_instant_ages_away_is_outside_the_window(
    rule: str, text: str, transactional_db: None
) -> None:
    org = make_org(period_rule=rule, anchor_at=datetime(2026, 1, 31, 12, tzinfo=UTC))

    with nothing_written():
        response = org.use(occurredAt=text)

    assert refused_fields(response) == {"occurredAt"}


#: From an instant in UTC with milliseconds, to how RFC 3339 lets it be written.
SPELLINGS: dict[str, Callable[[str], str]] = {
    "with Z": lambda text: f"{text}Z",
    "with a lower-case z": lambda text: f"{text}z",
    "with a lower-case t": lambda text: f"{text.replace('T', 't')}Z",
    # RFC 3339, section 5.6: "may choose, for the sake of readability, ... a space".
    "with a space": lambda text: f"{text.replace('T', ' ')}Z",
    "with +00:00": lambda text: f"{text}+00:00",
    "with -00:00": lambda text: f"{text}-00:00",
    "with a digit of fraction less": lambda text: f"{text[:-1]}Z",
    "with microseconds": lambda text: f"{text}000Z",
    "with another offset": lambda text: (
        f"{(datetime.fromisoformat(text) + timedelta(hours=5, minutes=45)).isoformat()}+05:45"
    ),
}


@pytest.mark.parametrize("written", SPELLINGS.values(), ids=SPELLINGS.keys())
def test_instants_are_compared_as_instants(written: Callable[[str], str], org: Org) -> None:
    at = clock.now().replace(microsecond=120_000, tzinfo=None).isoformat(timespec="milliseconds")
    first = org.use(request_id="r1", occurredAt=f"{at}Z")

    again = org.use(request_id="r1", occurredAt=written(at))

    assert again.content == first.content
    assert again.headers["Idempotent-Replayed"] == "true"


METRICS = {
    "unknown": "api_calls",
    "another case": "API_CALL",
    "a blank behind it": "api_call ",
    "a quote": "api_call' OR '1'='1",
    "a wildcard": "api_%",
    "a path": "../../etc/passwd",
    "a line feed": "api_call\n",
    "a look-alike": "аpi_call",
    "an emoji": "📈",
    "a template": "{{7*7}}${jndi:ldap://x}",
    "a header": "x\r\nx-tenant-id: other",
    "64 characters": "m" * 64,
    "65 characters": "m" * 65,
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_a_metric_that_nothing_is_counted_under_is_refused(metric: str, org: Org) -> None:
    body = {"orgId": org.id, "metric": metric}

    with nothing_written():
        answers = [org.use(metric=metric), org.post("/api/quota/check", body)]

    for answer in answers:
        assert refused_fields(answer) == {"metric"}
        assert metric not in error(answer)["details"]["fields"]["metric"][0]


REQUEST_IDS = {
    "1 character": "r",
    "128 characters": "r" * 128,
    "128 characters beyond ASCII": "é" * 128,
    "128 emoji": "😀" * 128,
    "blanks": "   ",
    "a quote": "'; DROP TABLE usage_usageevent; --",
    "control characters": "\x01\x1b[31m\x7f\r\n\t",
    "right to left": "\u202egnp.exe",
    "noncharacters": "\uffff\U0010ffff",
}


@pytest.mark.parametrize("request_id", REQUEST_IDS.values(), ids=REQUEST_IDS.keys())
def test_a_request_id_is_any_text_of_1_to_128_characters(request_id: str, org: Org) -> None:
    at = clock.now().isoformat()
    first = org.use(request_id=request_id, occurredAt=at)

    again = org.use(request_id=request_id, occurredAt=at)

    assert data(first)["used"] == 1
    assert again.content == first.content
    assert UsageEvent.objects.get().request_id == request_id


def test_request_ids_that_only_look_alike_are_two(org: Org) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"

    answers = [data(org.use(request_id=one)) for one in (composed, decomposed, composed.upper())]

    assert [answer["used"] for answer in answers] == [1, 2, 3]


@pytest.mark.parametrize("request_id", ["", "r" * 129, "😀" * 129])
def test_a_request_id_of_another_length_is_refused(request_id: str, org: Org) -> None:
    body = {"orgId": org.id, "metric": "api_call", "value": 1, "request_id": request_id}

    with nothing_written():
        response = org.post("/api/v1/usage", {**body, "occurredAt": clock.now().isoformat()})

    assert refused_fields(response) == {"request_id"}
