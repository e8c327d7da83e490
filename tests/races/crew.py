"""Writers in processes of their own, and what they were answered."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.live import ROOT, database_url

#: Copies live long in the writers, so that a stale one would not heal by itself.
LONG_COPY_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Call:
    """One request: POST with a body, GET without."""

    path: str
    body: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a writer was answered."""

    status: int
    replayed: bool
    text: str

    @property
    def body(self) -> Any:
        """The parsed body."""
        return json.loads(self.text)

    @property
    def code(self) -> str:
        """The code of the error, or an empty string."""
        return str(self.body.get("error", {}).get("code", ""))


class Writer:
    """A process running tests.races.writer."""

    def __init__(self, log: Path, **variables: str) -> None:
        env = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "PROCESS_ROLE": "web",
            "COPY_TTL": str(LONG_COPY_SECONDS),
            **variables,
        }
        for name in ("PROMETHEUS_MULTIPROC_DIR", "DJANGO_SETTINGS_MODULE"):
            env.pop(name, None)
        self.log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.races.writer"],
                cwd=ROOT,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def wait_until_ready(self) -> None:
        """Return when the application is loaded."""
        assert self._read() == "ready", self.log.read_text()

    def answers(
        self, token: str, calls: Sequence[Call], *, threads: int
    ) -> Iterator[tuple[int, Answer]]:
        """Make the calls from so many threads; yield (position, answer) as they come."""
        job = {
            "token": token,
            "threads": threads,
            "calls": [(one.path, one.body) for one in calls],
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        while (said := self._read()) not in ("done", None):
            index, status, replayed, text = said
            yield index, Answer(status, replayed, text)

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        """End it, and free its pipes."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        # A killed writer may leave half a line behind: that answer never arrived.
        return json.loads(line) if line.endswith("\n") else None


class Crew:
    """Several writers working at once."""

    def __init__(self, size: int, folder: Path, **variables: str) -> None:
        self.writers = [Writer(folder / f"writer-{n}.log", **variables) for n in range(size)]
        for writer in self.writers:
            writer.wait_until_ready()

    def run(
        self,
        token: str,
        calls: Sequence[Call],
        *,
        threads: int = 4,
        at: Mapping[int, Callable[[], None]] | None = None,
    ) -> list[Answer]:
        """Make all calls, neighbours in different processes; return the answers in order.

        `at` maps a number of answers to what happens when so many have arrived.
        """
        answers: dict[int, Answer] = {}
        arriving = threading.Lock()
        size = len(self.writers)

        def follow(first: int, writer: Writer) -> None:
            for index, answer in writer.answers(token, calls[first::size], threads=threads):
                with arriving:
                    answers[first + index * size] = answer
                    happens = (at or {}).get(len(answers))
                    if happens is not None:
                        happens()

        with ThreadPoolExecutor(size) as pool:
            for done in [pool.submit(follow, n, w) for n, w in enumerate(self.writers)]:
                done.result()
        return [answers[position] for position in range(len(calls))]

    def close(self) -> None:
        """End all writers."""
        for writer in self.writers:
            writer.close()
