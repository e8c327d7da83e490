import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.launcher import supervisor as module
from config.launcher.accounts import caller
from config.launcher.guard import Guard, alive
from config.launcher.process import Spec, wait_until
from config.launcher.supervisor import Supervisor
from config.launcher.ui import Refusal

SLEEP = "import time; time.sleep(600)"
# A worker of its own, as web servers and task pools have; its pid goes to the log.
FORK = "import os, time; os.fork() or print(os.getpid(), flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {FORK}"


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    guard = Guard()
    supervisor = Supervisor(guard, tmp_path)
    yield supervisor
    supervisor.stop(hurry=lambda: True, tell=lambda name: None)
    guard.dismiss()


def spec(name: str, code: str, grace: float = 10.0) -> Spec:
    argv = [sys.executable, "-c", code]
    return Spec(name, argv, dict(os.environ), Path("/"), caller(), signal.SIGTERM, grace)


def forked(log: Path) -> int:
    assert wait_until(lambda: log.exists() and log.read_text().endswith("\n"), 30)
    return int(log.read_text())


def test_what_dies_is_started_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
    child = supervisor.start(spec("web", SLEEP))
    assert child.process is not None
    first = child.process.pid

    os.kill(first, signal.SIGKILL)

    def again() -> bool:
        supervisor.tend()
        return child.process is not None and child.process.pid != first

    assert wait_until(again, 30)


def test_each_failure_waits_longer(supervisor: Supervisor) -> None:
    child = supervisor.start(spec("web", "raise SystemExit(3)"))
    pauses = []
    for _ in range(7):
        assert child.process is not None
        child.process.wait()
        supervisor.tend()
        pauses.append(child.pause)
        child.start_again_at = 0
        supervisor.tend()

    assert pauses == [2, 4, 8, 16, 30, 30, 30]


def test_a_death_while_starting_is_explained(supervisor: Supervisor) -> None:
    with pytest.raises(Refusal, match=r"(?s)web ended while starting.*no such table"):
        supervisor.start(spec("web", "raise SystemExit('no such table')"), lambda pid: False)


def test_the_newest_is_stopped_first(supervisor: Supervisor) -> None:
    for name in ("postgres", "worker", "web"):
        supervisor.start(spec(name, SLEEP))
    told: list[str] = []

    supervisor.stop(hurry=lambda: False, tell=told.append)

    assert told == ["web", "worker", "postgres"]


def test_workers_of_a_stubborn_process_go_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(spec("worker", STUBBORN, grace=0.1))
    worker = forked(tmp_path / "worker.log")

    supervisor.stop(hurry=lambda: False, tell=lambda name: None)

    assert wait_until(lambda: not alive(worker), 30)


def test_workers_of_a_killed_process_go_too(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start(spec("worker", FORK))
    worker = forked(tmp_path / "worker.log")
    assert child.process is not None

    os.kill(child.process.pid, signal.SIGKILL)
    child.process.wait()
    supervisor.tend()

    assert wait_until(lambda: not alive(worker), 30)
