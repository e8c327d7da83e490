"""PostgreSQL and Valkey for the length of a command, and the variables that find them."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from config.launcher import logs
from config.launcher.binaries import find_postgres, find_valkey
from config.launcher.environment import addresses_given, given, sandbox_wanted
from config.launcher.guard import Guard
from config.launcher.places import Places, private_folder, socket_folder
from config.launcher.postgres import SUPERUSER, Postgres
from config.launcher.supervisor import Supervisor
from config.launcher.ui import Refusal
from config.launcher.valkey import Valkey
from config.launcher.venv import Environment

ROOM_FOR_TESTS = 700_000_000
THROWAWAY = "metergate-test-"


@dataclass
class Servers:
    """What is up, and how to take it down."""

    supervisor: Supervisor
    guard: Guard
    sockets: Path | None
    addresses: dict[str, str]

    def close(self, hurry: Callable[[], bool], tell: Callable[[str], None]) -> None:
        self.supervisor.stop(hurry, tell)
        if self.sockets is not None:
            shutil.rmtree(self.sockets, ignore_errors=True)
        self.guard.dismiss()


def _quiet(name: str) -> None:
    pass


@contextmanager
def servers(
    places: Places,
    env: Environment,
    data: Path,
    *,
    locks: tuple[int, ...] = (),
    for_tests: bool = False,
    durable: bool = True,
    remove: Path | None = None,
    hurry: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = _quiet,
    before_stop: Callable[[], None] = lambda: None,
) -> Iterator[Servers]:
    """Start what the caller has not named, and stop it at the end, whatever happens."""
    addresses = addresses_given()
    own_postgres = "DATABASE_URL" not in addresses
    own_valkey = "VALKEY_URL" not in addresses
    log_folder = data / "logs"
    log_folder.mkdir(mode=0o700, exist_ok=True)
    logs.trim(log_folder)
    guard = Guard(locks)
    if remove is not None:
        guard.remove_later(remove)
    up = Servers(Supervisor(guard, log_folder), guard, None, addresses)
    try:
        if own_postgres or own_valkey:
            up.sockets = socket_folder(places.account)
            guard.remove_later(up.sockets)
            if own_postgres:
                _start_postgres(up, up.sockets, places, env, data, for_tests, durable)
            if own_valkey:
                _start_valkey(up, up.sockets, places, env)
        if not own_postgres and for_tests:
            addresses["POSTGRES_SUPERUSER_URL"] = addresses["DATABASE_URL"]
        if not own_postgres and sandbox_wanted() and not given("SANDBOX_DATABASE_URL"):
            made = _with_python(env, places, "config.launcher.sandbox_database")
            addresses["SANDBOX_DATABASE_URL"] = made.strip()
        yield up
    finally:
        before_stop()
        up.close(hurry, tell)


def _start_postgres(
    up: Servers,
    sockets: Path,
    places: Places,
    env: Environment,
    data: Path,
    for_tests: bool,
    durable: bool,
) -> None:
    server = Postgres(
        binaries=find_postgres(env.site_packages, places.account),
        data=data / "postgres",
        sockets=sockets,
        account=places.account,
        durable=durable,
        max_connections=200,
    )
    server.prepare()
    up.supervisor.start(server.spec(), server.ready)
    options = ["--test"] if for_tests else []
    _with_python(env, places, "config.launcher.bootstrap", str(sockets), *options)
    up.addresses |= {
        "DATABASE_URL": server.url("metergate_app", "metergate"),
        "MIGRATE_DATABASE_URL": server.url("metergate_owner", "metergate"),
        "SANDBOX_DATABASE_URL": server.url("metergate_sandbox", "metergate_sandbox"),
    }
    if for_tests:
        up.addresses["POSTGRES_SUPERUSER_URL"] = server.url(SUPERUSER, "postgres")


def _start_valkey(up: Servers, sockets: Path, places: Places, env: Environment) -> None:
    server = Valkey(find_valkey(env.site_packages, places.account), sockets, places.account)
    up.supervisor.start(server.spec(), server.ready)
    up.addresses |= {"VALKEY_URL": server.url, "CELERY_BROKER_URL": server.broker_url}


def _with_python(env: Environment, places: Places, module: str, *arguments: str) -> str:
    """Run one of our modules that needs psycopg; its last line explains a failure."""
    done = subprocess.run(
        [env.python, "-m", module, *arguments],
        cwd=places.project,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # The exception's own line; libpq appends hints in lines below it.
        why = next((line for line in lines if line.startswith("psycopg.")), lines[-1])
        raise Refusal(f"The database could not be prepared: {why}")
    return done.stdout


@contextmanager
def throwaway_folder(places: Places, *, in_memory: bool) -> Iterator[Path]:
    """A data folder for one test run: in memory when there is room, gone afterwards."""
    memory = Path("/dev/shm")  # noqa: S108 - the folder below it is private
    parent = Path(tempfile.gettempdir())
    if in_memory and memory.is_dir() and os.access(memory, os.W_OK | os.X_OK):
        _remove_abandoned(memory)
        if shutil.disk_usage(memory).free >= ROOM_FOR_TESTS:
            parent = memory
    if not places.account.can("x", parent):
        parent = Path("/var/tmp")  # noqa: S108 - as above
    _remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=THROWAWAY, dir=parent))
    in_use = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(in_use, fcntl.LOCK_EX)
    try:
        yield private_folder(folder, places.account)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(in_use)


def _remove_abandoned(parent: Path) -> None:
    """Folders whose run was killed together with its guard; memory is too dear to leave."""
    for folder in parent.glob(THROWAWAY + "*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            # A very young one may be another run's that is about to lock it.
            young = time.time() - found.st_mtime < 60
            if young or found.st_uid != os.geteuid() or folder.is_symlink():
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
