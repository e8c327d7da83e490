"""Whatever a client has its server write into a log: its request counts, as what it was."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cast import Org, make_org
from tests.usage.importing import combined, importing, lines
from usage.importing.errors import Unreadable
from usage.importing.formats import Parser, Request
from usage.importing.logfile import Line, open_log

AT = datetime(2015, 5, 20, 12, 0, 0, tzinfo=UTC)
CASES = Path(__file__).resolve().parents[3] / "shared" / "cases"
MEGABYTES = 3_000_000


def parse(raw: bytes, *, ended: bool = True) -> Request:
    return Parser().parse(Line(1, raw, len(raw), ended, fits=True))


def access(
    *, user: bytes = b"-", request: bytes = b"GET /x HTTP/1.1", agent: bytes = b"x"
) -> bytes:
    return (
        b"192.0.2.1 - " + user + b" [20/May/2015:12:00:00 +0000] "
        b'"' + request + b'" 200 512 "-" "' + agent + b'"'
    )


def json_line(agent: bytes) -> bytes:
    return (
        b'{"time":"2015-05-20T12:00:00Z","method":"GET","agent":"' + agent + b'",'
        b'"path":"/x","status":200,"bytes":512}'
    )


def what_counts(request: Request) -> tuple[object, ...]:
    return (*request[:4], request.fields["bytes"])


READ = (AT, "GET", "/x", 200, 512)

#: What a client may send and a server may write without escaping it.
TEXTS = [
    b"a\xffb", b"\x00", b"[", b"]", b"[]", b"] [", b"[x] ", b"\\", b"\\x22", b"\\\"", b"\\u0000",
    b"\\ud800", b"\xed\xa0\x80", b"\xf0\x9f\x92\xa9", b"\r", b"\x1b[31m", b"-", b"", b"  ", b"{}",
    b"\\q", b"\\", b"\\u12", b"%22", b"\xc2\x85", b"\xe2\x80\xa8", b"x" * MEGABYTES,
    b"[" * 100_000, b"\\" * 100_000, b"\xff" * MEGABYTES,
    b"[20/May/2015:11:00:00 +0000] \\\"GET /free HTTP/1.1\\\" 404 0",
]  # fmt: skip


@pytest.mark.parametrize("value", TEXTS, ids=lambda value: repr(value[:20]))
def test_user_name_and_agent_change_nothing_that_is_read(value: bytes) -> None:
    user = value.replace(b'\\"', b"\\x22") if value.endswith(b"\\") else value

    assert what_counts(parse(access(user=user))) == READ
    assert what_counts(parse(access(agent=value))) == READ


@pytest.mark.parametrize(
    "path",
    [rb"/a\"b", rb"/a\x22b", b'/a"b', b"/a\xff", b"/[x]", b'/"', b"/a\\", b"/" + b"x" * MEGABYTES],
)  # fmt: skip
def test_target_may_be_anything_and_its_request_counts(path: bytes) -> None:
    request = parse(access(request=b"GET " + path + b" HTTP/1.1"))

    assert (request.at, request.method, request.status) == (AT, "GET", 200)
    assert request.path == path.decode("utf-8", "surrogateescape")
    assert request.fields == {"bytes": 512}


@pytest.mark.parametrize("value", [*TEXTS, b'a"b', b'"', b'a","b'], ids=lambda v: repr(v[:20]))
def test_string_of_a_json_line_changes_nothing_that_is_read(value: bytes) -> None:
    # A server that leaves a backslash as it is may end its string with one.
    agent = value + b"." if value.endswith(b"\\") and len(value) % 2 else value

    assert what_counts(parse(json_line(agent))) == READ


@pytest.mark.parametrize(
    "raw",
    [
        access(request=b"GET /" + b"a" * MEGABYTES + b"?to=x://y HTTP/1.1"),
        access(user=b"[" * MEGABYTES, agent=b"[" * MEGABYTES),
        access(agent=b"\\" * MEGABYTES),
        b"[" * MEGABYTES,
        b'"' * MEGABYTES,
        b"[" + b"x" * MEGABYTES + b'] "',
        json_line(b"\\" * (MEGABYTES + 1)),
        json_line(b'","' * MEGABYTES),
        json_line(b'{"a":' * MEGABYTES),
        json_line(b', "time": "' * 100_000),
        b"{" * MEGABYTES,
        b'{"a":' * MEGABYTES,
    ],
    ids=lambda raw: repr(raw[-20:]),
)
def test_no_line_takes_longer_than_its_length(raw: bytes) -> None:
    """A pattern that tries again from every character would not come back from these."""
    with suppress(Unreadable):
        assert parse(raw).at == AT


@given(st.binary(max_size=60).map(lambda raw: raw.replace(b"\n", b"")))
def test_no_bytes_of_a_client_keep_its_line_from_being_counted(value: bytes) -> None:
    # As nginx and Apache write it: quotes and backslashes escaped.
    escaped = value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    hexed = value.replace(b"\\", b"\\x5C").replace(b'"', b"\\x22")
    for written in (escaped, hexed):
        assert what_counts(parse(access(user=written))) == READ
        assert what_counts(parse(access(agent=written))) == READ
        assert parse(access(request=b"GET /" + written + b" HTTP/1.1"))[2:4] != ("-", 0)
        assert what_counts(parse(json_line(written))) == READ


@given(st.text(max_size=40))
def test_no_text_of_a_client_keeps_its_json_line_from_being_counted(value: str) -> None:
    for ascii_only in (True, False):
        agent = json.dumps(value, ensure_ascii=ascii_only)[1:-1]

        assert what_counts(parse(json_line(agent.encode("utf-8", "surrogatepass")))) == READ


def test_header_that_a_client_sends_twice_keeps_no_line_from_being_counted() -> None:
    line = json_line(b"x").replace(b'"bytes"', b'"headers":{"X-A":"1","X-A":"2"},"bytes"')

    assert what_counts(parse(line)) == READ


def test_field_that_is_read_and_occurs_twice_is_told() -> None:
    with pytest.raises(Unreadable, match="occurs twice"):
        parse(json_line(b'x","status":404,"y":"'))
    with pytest.raises(Unreadable, match="occurs twice"):
        parse(json_line(b'x"y","status":404,"z":"'))


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_json_line_that_is_still_being_written_is_not_counted(cut: int) -> None:
    with pytest.raises(Unreadable):
        parse(json_line(b'a"b')[:-cut], ended=False)


@pytest.mark.parametrize(
    ("time", "microsecond"),
    [(".1", 100_000), (".123456789", 123_456), (".9999999999", 999_999), (".0000001", 0)],
)
def test_instant_is_cut_to_microseconds(time: str, microsecond: int) -> None:
    line = json_line(b"x").replace(b":00Z", f":00{time}Z".encode())

    assert parse(line).at == AT.replace(microsecond=microsecond)


@pytest.mark.parametrize("raw", [combined().encode(), json_line(b"x")])
@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\0" * 1000, b"\0\0\xef\xbb\xbf", b" "])
def test_byte_order_mark_or_a_hole_before_a_line_is_not_of_it(raw: bytes, before: bytes) -> None:
    assert parse(before + raw).at == AT


def test_hole_of_any_size_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as sparse:
        sparse.truncate(200_000_000)
        sparse.seek(0, 2)
        sparse.write(combined().encode() + b"\n")

    with open_log(str(path)) as log:
        [line] = log.lines()

    assert Parser().parse(line).at == AT


@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_read_is_counted_and_kept_with_its_line_number(
    org: Org, tmp_path: Path
) -> None:
    log = tmp_path / "access.log"
    log.write_bytes(
        access(agent=b"\xff[") + b"\r\n\n" + b"no\xffnsense\r\n" + access(user=b"[a") + b"\r\n"
        + access(agent=b"y" * MEGABYTES) + b"\r\n"
    )  # fmt: skip

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.number("read"), outcome.accepted, outcome.rejected) == (
        1,
        4,
        3,
        1,
    )
    assert (tmp_path / "access.log.rejects").read_bytes() == (
        b"3\tMALFORMED: neither Common or Combined Log Format nor JSON\tno\xffnsense\n"
    )


@pytest.mark.skipif(not CASES.is_dir(), reason="needs ../shared/cases")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "count"), [("client_escapes_count", 3), ("nanoseconds", 1), ("bom", 1)]
)
def test_every_line_of_the_cases_counts(org: Org, tmp_path: Path, name: str, count: int) -> None:
    log = tmp_path / "log"
    log.write_bytes((CASES / f"{name}.jsonl").read_bytes())

    outcome = importing(log, org, "--shift-to-now")

    assert (outcome.code, outcome.accepted) == (0, count)


@pytest.mark.django_db(transaction=True)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(agents=st.lists(st.binary(max_size=30), min_size=1, max_size=30))
def test_random_agents_never_change_how_many_lines_count(
    transactional_db: None, tmp_path_factory: pytest.TempPathFactory, agents: list[bytes]
) -> None:
    org = make_org()
    log = tmp_path_factory.mktemp("logs") / "access.log"
    log.write_bytes(
        b"".join(
            line.encode().replace(b"agent/", agent.replace(b"\n", b"")) + b"\n"
            for line, agent in zip(lines(len(agents)), agents, strict=True)
        )
    )

    first = importing(log, org, "--shift-to-now")
    again = importing(log.rename(log.with_name("renamed")), org)

    assert (first.accepted, again.accepted, again.duplicate) == (len(agents), 0, len(agents))
