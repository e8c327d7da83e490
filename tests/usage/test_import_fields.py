"""Logs of other servers: a preset, or a map of field names."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.cast import Org
from tests.usage.importing import counted, importing, write
from usage.importing.errors import CannotImport, Unreadable
from usage.importing.fields import PRESETS, field_map
from usage.importing.formats import Parser, Request
from usage.importing.logfile import Line

AT = datetime(2026, 11, 27, 10, 0, 0, tzinfo=UTC)

SAMPLES = {
    "nginx": [
        '{"time_iso8601":"2026-11-27T10:00:00+00:00","remote_addr":"192.0.2.1",'
        '"request_method":"POST","request_uri":"/items?a=1","status":201,"body_bytes_sent":512,'
        '"http_user_agent":"a\\x22b"}',
        '{"msec":"1795773600.000","request":"POST /items?a=1 HTTP/1.1","status":"201",'
        '"body_bytes_sent":"512"}',
        '{"time_local":"27/Nov/2026:10:00:00 +0000","request":"POST /items HTTP/2.0",'
        '"status":"201","bytes_sent":"512"}',
    ],
    "caddy": [
        '{"level":"info","ts":1795773600.0000004,"logger":"http.log.access.log0",'
        '"msg":"handled request","request":{"remote_ip":"192.0.2.1","proto":"HTTP/2.0",'
        '"method":"POST","host":"example.com","uri":"/items?a=1",'
        '"headers":{"User-Agent":["x"]}},"bytes_read":0,"user_id":"","duration":0.001,'
        '"size":512,"status":201,"resp_headers":{}}',
        '{"ts":"2026-11-27T10:00:00.000Z","request":{"method":"POST","uri":"/items"},'
        '"size":512,"status":201}',
    ],
    "traefik": [
        '{"ClientAddr":"192.0.2.1:5","DownstreamContentSize":512,"DownstreamStatus":201,'
        '"OriginStatus":500,"RequestMethod":"POST","RequestPath":"/items?a=1",'
        '"StartUTC":"2026-11-27T10:00:00.000000123Z","level":"info","msg":"",'
        '"time":"2026-11-27T10:00:01Z","request_User-Agent":"x"}',
        '192.0.2.1 - - [27/Nov/2026:10:00:00 +0000] "POST /items HTTP/1.1" 201 512 "-" "x" 7 '
        '"web@docker" "http://10.0.0.1:80" 1ms',
    ],
    "alb": [
        "h2 2026-11-27T10:00:00.000000Z app/my-lb/50dc6c495c0c9188 192.0.2.1:2817 10.0.0.1:80 "
        '0.001 0.002 0.000 201 500 34 512 "POST https://example.com:443/items?a=1 HTTP/2.0" '
        '"a [20/May/2015:12:00:00 +0000] x" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:x "Root=1" '
        '"example.com" "-" 0 2026-11-27T10:00:00.000000Z "forward" "-" "-" "10.0.0.1:80" "201"',
    ],
    "envoy": [
        '[2026-11-27T10:00:00.000Z] "POST /items?a=1 HTTP/1.1" 201 - 34 512 5 4 "192.0.2.1" "x" '
        '"cc21d9b0" "example.com" "10.0.0.1:80"',
        '[2026-11-27T10:00:00.000Z] "POST /items HTTP/1.1" 201 - via_upstream - "-" 34 512 5 4 '
        '"-" "x"',
        '{"start_time":"2026-11-27T10:00:00.000Z","method":"POST","path":"/items?a=1",'
        '"response_code":201,"bytes_sent":512,"bytes_received":"34"}',
    ],
    "kong": [
        '{"request":{"method":"POST","uri":"/items?a=1","url":"http://h/items","size":"34",'
        '"headers":{"user-agent":"x"}},"response":{"status":201,"size":512,"headers":{}},'
        '"latencies":{"request":5},"started_at":1795773600000}',
    ],
}  # fmt: skip


def parse(text: str, preset: str | None = None, fields: str | None = None) -> Request:
    raw = text.encode()
    return Parser(field_map(preset, fields)).parse(Line(1, raw, len(raw), True, fits=True))


@pytest.mark.parametrize(
    ("preset", "text"), [(name, text) for name, texts in SAMPLES.items() for text in texts]
)
def test_preset_reads_what_its_server_writes(preset: str, text: str) -> None:
    request = parse(text, preset)

    assert request[:4] == (AT, "POST", "/items", 201)
    assert request.fields["bytes"] == 512


def test_every_preset_has_a_sample() -> None:
    assert set(PRESETS) == set(SAMPLES)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ("time=ts,method=verb,path=url,status=code,bytes=size",
         '{"ts":1795773600,"verb":"post","url":"/items","code":"201","size":"512"}'),
        ("time=at.start,request=http.line,status=http.code,bytes=http.size",
         '{"at":{"start":1795773600000000},"http":{"line":"POST /items?x HTTP/1.1",'
         '"code":201,"size":512}}'),
        ("time=@timestamp,method=http.request.method,path=url.path,status=s,bytes=b",
         '{"@timestamp":"2026-11-27T10:00:00.000000001Z","http.request.method":"POST",'
         '"url.path":"/items","s":201,"b":512}'),
        ("time=ns", '{"ns":"1795773600000000000","method":"POST","path":"/items","status":201,'
         '"bytes":512}'),
    ],
)  # fmt: skip
def test_fields_name_where_a_line_says_it(fields: str, text: str) -> None:
    request = parse(text, fields=fields)

    assert request[:4] == (AT, "POST", "/items", 201)
    assert request.fields["bytes"] == 512


def test_fields_change_single_names_of_a_preset() -> None:
    text = SAMPLES["caddy"][0].replace('"status":201', '"status":500,"final":201')

    assert parse(text, "caddy", "status=final").status == 201


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"request":{"method":"GET","uri":"/"},"status":200}', "time is missing"),
        ('{"ts":true,"request":{"method":"GET","uri":"/"},"status":200}', "time is missing"),
        ('{"ts":-5,"request":{"method":"GET","uri":"/"},"status":200}', "time is not"),
        ('{"ts":1e300,"request":{"method":"GET","uri":"/"},"status":200}', "time is not"),
        ('{"ts":1795773600,"request":{"method":"GET"},"status":200}', "path is missing"),
        ('{"ts":1795773600,"request":{"method":"GET","uri":"/"},"status":0}', "status is missing"),
        ('{"ts":1795773600,"request":[],"status":200}', "method is missing"),
        ('{"ts":1795773600,"ts":1,"request":{"method":"GET","uri":"/"},"status":200}', "twice"),
    ],
)
def test_line_that_lacks_something_is_told_what(text: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        parse(text, "caddy")


@pytest.mark.parametrize(
    ("preset", "fields", "said"),
    [
        ("apache", None, "There is no preset apache; there is: alb, caddy"),
        (None, "when=ts", "is not NAME=FIELD"),
        (None, "time", "is not NAME=FIELD"),
        (None, "time=", "is not NAME=FIELD"),
        (None, "", "is not NAME=FIELD"),
    ],
)
def test_map_that_makes_no_sense_is_refused(
    preset: str | None, fields: str | None, said: str
) -> None:
    with pytest.raises(CannotImport, match=said):
        field_map(preset, fields)


@pytest.mark.django_db(transaction=True)
def test_import_counts_what_the_map_says(org: Org, tmp_path: Path) -> None:
    log = write(tmp_path / "caddy.log", SAMPLES["caddy"])

    outcome = importing(
        log, org, "--preset", "caddy", "--shift-to-now", "--units-from", "bytes",
        "--method", "POST", "--path", "/items", metric="compute_ms",
    )  # fmt: skip

    assert (outcome.code, outcome.accepted) == (0, 2)
    assert counted(org, "compute_ms") == 1024


@pytest.mark.django_db(transaction=True)
def test_unknown_preset_is_refused(org: Org, tmp_path: Path) -> None:
    outcome = importing(write(tmp_path / "x", ["{}"]), org, "--preset", "apache")

    assert (outcome.code, "There is no preset" in outcome.said) == (2, True)
