"""What the lines of a log say."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.usage.importing import DATA, combined
from usage.importing.errors import CannotImport, Unreadable
from usage.importing.formats import Parser, Request
from usage.importing.logfile import MAX_LINE, Line, open_log


def parse(text: str, *, ended: bool = True, parser: Parser | None = None) -> Request:
    raw = text.encode()
    return (parser or Parser()).parse(Line(1, raw, len(raw), ended, fits=True))


def read(path: Path) -> list[Line]:
    with open_log(str(path)) as log:
        return list(log.lines())


def test_combined_line_says_when_what_and_how_it_ended() -> None:
    request = parse((DATA / "combined.log").read_text().splitlines()[1])

    assert request.at == datetime(2015, 5, 20, 12, 0, 1, tzinfo=UTC)
    assert request[1:] == ("POST", "/api/items", 201, {"bytes": 310})


def test_common_line_without_bytes_sent_none() -> None:
    request = parse((DATA / "common.log").read_text().splitlines()[1])

    assert request[1:] == ("HEAD", "/api/items", 200, {"bytes": 0})


def test_json_line_keeps_its_own_fields_for_units() -> None:
    request = parse((DATA / "requests.jsonl").read_text().splitlines()[2])

    assert request.at == datetime(2015, 5, 20, 12, 0, 2, tzinfo=UTC)
    assert (request.method, request.path, request.status) == ("POST", "/api/render", 503)
    assert request.fields["duration_ms"] == 12


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/a/b?c=/d", "/a/b"),
        ("http://host:80/a?b", "/a"),
        ("https://host?b", "/"),
        ("/go?to=http://host/x", "/go"),
        ("/a b", "/a b"),
        ("/%61", "/%61"),
        ("*", "*"),
    ],
)
def test_path_is_the_target_without_host_and_query(target: str, path: str) -> None:
    assert parse(combined(path=target)).path == path


@pytest.mark.parametrize("request_line", ["-", "", r"\x16\x03\x01", r"\"GET"])
def test_request_line_that_is_none_is_a_request_without_method_and_path(request_line: str) -> None:
    line = f'192.0.2.7 - - [20/May/2015:12:00:00 +0000] "{request_line}" 400 0 "-" "-"'

    assert parse(line)[1:4] == ("-", "-", 400)


def test_time_counts_its_offset() -> None:
    line = combined().replace("12:00:00 +0000", "05:30:00 -0630")

    assert parse(line).at == datetime(2015, 5, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "GET / HTTP/1.1",
        combined().replace(" 200 ", " two "),
        combined().replace(" 200 ", " 20 "),
        combined().replace("[", "").replace("]", ""),
        combined()[: combined().index('" 200')],
        "\x00\x01",
        "[]",
    ],
)
def test_line_of_no_known_format_is_told_so(text: str) -> None:
    with pytest.raises(Unreadable, match="neither Common or Combined"):
        parse(text)


@pytest.mark.parametrize(
    "time",
    ["31/Feb/2015:12:00:00 +0000", "20/Mai/2015:12:00:00 +0000", "20/May/2015:24:00:00 +0000",
     "20/May/2015:12:00:00 +9900", "20/May/2015:12:00:00", "01/Jan/0001:00:00:00 +0100", ""],
)  # fmt: skip
def test_time_that_is_none_is_told_so(time: str) -> None:
    with pytest.raises(Unreadable, match="its time"):
        parse(combined().replace("20/May/2015:12:00:00 +0000", time))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('"time": "2015-05-20T12:00:00"', "time is not an RFC 3339 instant"),
        ('"time": 1432123200', "time is missing or not text"),
        ('"method": null', "method is missing or not text"),
        ('"path": 7', "path is missing or not text"),
        ('"status": true', "status is missing"),
        ('"status": 20', "status is missing"),
        ('"status": "2xx"', "status is missing"),
        ('"status": 200, "status": 200', "not one valid JSON object"),
        ('"bytes": NaN', "not one valid JSON object"),
        ('"bytes": ' + "9" * 5000, "not one valid JSON object"),
        ('"bytes": 1}{', "not one valid JSON object"),
    ],
)
def test_json_line_that_lacks_something_is_told_what(change: str, reason: str) -> None:
    fields = {
        "time": '"time": "2015-05-20T12:00:00Z"',
        "method": '"method": "GET"',
        "path": '"path": "/"',
        "status": '"status": 200',
    }
    fields[change.split('"')[1]] = change

    with pytest.raises(Unreadable, match=reason):
        parse("{" + ", ".join(fields.values()) + "}")


def test_broken_user_agent_of_a_finished_line_does_not_matter() -> None:
    assert parse(combined()[:-4]).status == 200


@pytest.mark.parametrize("cut", range(1, len(' 512 "-" "agent/0"')))
def test_last_line_is_counted_only_when_it_is_whole(cut: int) -> None:
    # Counted while the server is still writing it, it would count again when whole.
    parser = Parser()
    parse(combined(1), parser=parser)

    with pytest.raises(Unreadable):
        parse(combined()[:-cut], ended=False, parser=parser)


@pytest.mark.parametrize("text", [combined(), '1 - - [20/May/2015:12:00:00 +0000] "GET /" 200 5'])
def test_last_line_may_lack_a_line_end(text: str) -> None:
    assert parse(text, ended=False).status == 200


def test_lines_are_the_same_plain_and_compressed_and_with_either_line_end(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"one\n\n \ntwo\xff\nthree")
    dos = tmp_path / "dos"
    dos.write_bytes(b"one\r\n\r\n \r\ntwo\xff\r\nthree")
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(b"one\n\n \n") + gzip.compress(b"two\xff\nthree"))

    found = [[line[:2] for line in read(path)] for path in (plain, dos, packed)]

    assert found == [[(1, b"one"), (4, b"two\xff"), (5, b"three")]] * 3
    assert [line.ended for line in read(packed)] == [True, True, False]


@pytest.mark.parametrize("length", [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 3 * MAX_LINE + 5])
def test_line_that_is_too_long_is_passed_over_in_one_piece(tmp_path: Path, length: int) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"x" * length + b"\nnext\n")

    long, after = read(log)

    assert long.fits == (length <= MAX_LINE)
    assert len(long.raw) == min(length, MAX_LINE)
    assert (after.number, after.raw, after.end) == (2, b"next", length + 6)


def test_log_that_grows_is_read_to_where_it_was_read_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    with open_log(str(path)) as log:
        [*_, last] = log.lines()
        with path.open("ab") as writer:
            writer.write(b"o\nthree\n")

        again = list(log.lines(until=last.end))

    assert [line.raw for line in again] == [b"one", b"tw"]


def test_log_that_shrinks_while_it_is_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n" * 50_000)
    with open_log(str(path)) as log:
        path.write_bytes(b"one\n")

        with pytest.raises(CannotImport, match="became shorter"):
            list(log.lines(until=200_000))


def test_damaged_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(b"one\n" * 10_000)[:-20])

    with pytest.raises(CannotImport, match="cannot be read to its end"):
        read(path)
