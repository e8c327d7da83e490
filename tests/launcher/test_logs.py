import json
from pathlib import Path

import pytest

from config.launcher import logs


def line(event: str, at: str, level: str = "info", **more: object) -> str:
    return json.dumps({"event": event, "ts": at, "level": level, **more}) + "\n"


def test_a_json_line_is_shown_for_people() -> None:
    raw = line(
        "usage recorded",
        "2026-11-03T10:20:30.5Z",
        service="metergate",
        org_id="org_1",
        used=3,
        request_id=None,
    )

    shown = logs.pretty(logs.understand("web", raw))

    assert shown == "10:20:30 web      usage recorded org_id=org_1 used=3"


@pytest.mark.parametrize(
    ("raw", "loud"),
    [
        ('{"event": "lost", "level": "warning"}', True),
        ('{"event": "found", "level": "info"}', False),
        ("[2026-11-03 10:00:00,000: ERROR/MainProcess] consumer: cannot connect", True),
        ("2026-11-03 10:00:00 UTC [7] FATAL:  out of memory", True),
        ("[INFO] Started worker-1", False),
        ("{not json, but WARNING all the same", True),
    ],
)
def test_warnings_are_told_from_the_rest(raw: str, loud: bool) -> None:
    assert logs.understand("web", raw).loud is loud


def test_several_logs_are_read_in_the_order_of_time(tmp_path: Path) -> None:
    (tmp_path / "web.log").write_text(
        line("one", "2026-11-03T10:00:01Z") + line("three", "2026-11-03T10:00:03Z")
    )
    (tmp_path / "worker.log").write_text(
        "[2026-11-03 10:00:02,500: INFO/MainProcess] two\n  two and a half\n"
    )

    entries = logs.last_entries(logs.chosen(tmp_path, []), 50)

    assert [e.event.split("] ")[-1] for e in entries] == ["one", "two", "  two and a half", "three"]


def test_only_complete_lines_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_text("before\n")
    follower = logs.Follower(path)
    with path.open("a") as file:
        file.write("whole\nhal")
        file.flush()
        first = [e.raw for e in follower.entries()]
        file.write("ved\n")
        file.flush()
        second = [e.raw for e in follower.entries()]

    assert (first, second) == (["whole"], ["halved"])


def test_a_log_that_has_grown_keeps_its_end(tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    path.write_text("x" * 99 + "\n")
    with path.open("a") as file:
        file.writelines(f"{'y' * 99}\n" for _ in range(logs.TOO_BIG // 100))
        file.write("the end\n")

    logs.trim(tmp_path)

    assert path.stat().st_size <= logs.KEPT
    assert path.read_text().startswith("y" * 99)
    assert path.read_text().endswith("\nthe end\n")
