"""`./dev run`: from nothing to a platform that answers, and back down again."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from config.launcher import logs, ports, secretfile, venv
from config.launcher.accounts import caller, server_account
from config.launcher.commands import common_variables, settled, wanted_sets
from config.launcher.environment import for_children, given
from config.launcher.instance import Instance, State
from config.launcher.places import Places, find_places
from config.launcher.process import Spec
from config.launcher.servers import Servers, servers
from config.launcher.signals import Stop, Stopper
from config.launcher.supervisor import Supervisor, tail
from config.launcher.ui import BOLD, Refusal, paint, say, step

DEFAULT_PORT = 8000
LOOK_AROUND = 0.2
# Marks a generated password that was never shown.
UNSEEN = "password.unseen"


@dataclass(frozen=True)
class Run:
    """One `./dev run`: where it lives and what its processes are told."""

    places: Places
    env: venv.Environment
    port: int
    variables: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://{ports.LOOPBACK}:{self.port}"

    def spec(self, name: str, *arguments: str, grace: float = 10.0) -> Spec:
        return Spec(
            name=name,
            argv=[str(self.env.python), "-m", *arguments],
            env=self.variables,
            cwd=self.places.project,
            account=caller(),
            grace=grace,
        )


def run(*, port: int | None, verbose: bool) -> int:
    places = find_places(server_account())
    instance = Instance(places.data)
    holder = settled(instance, "run")
    if holder is not None:
        raise Refusal(
            f"./dev {holder.command} already uses {places.data} (pid {holder.pid}); "
            "stop it with Ctrl-C there first."
        )
    stopper = Stopper()
    try:
        web_port = chosen_port(port)
        env = venv.environment_of(places)
        venv.ensure(env, wanted_sets(venv.RUN))
        secrets = secretfile.kept_secrets(places.data / "secrets.env", env.python)
        step("Starting PostgreSQL and Valkey")
        with servers(
            places,
            env,
            places.data,
            locks=(instance.lock.fd,),
            hurry=lambda: stopper.hurry,
            tell=lambda name: step(f"Stopping {name}"),
            before_stop=stopper.tidy,
        ) as up:
            variables = common_variables(places.data, fresh_metrics=True) | up.addresses
            variables["PORT"] = str(web_port)
            instance.publish(State(os.getpid(), "run", str(up.sockets or ""), variables))
            # --port is the caller's word too, and the newer one.
            complete = for_children(secrets | variables, env.folder) | {"PORT": str(web_port)}
            this = Run(places, env, web_port, complete)
            followers = prepare_and_start(this, up)
            say(summary(this))
            watch(up.supervisor, followers, verbose=verbose)
    except Stop:
        say("Stopped. The data is kept.")
    finally:
        instance.withdraw()
    return 0


def chosen_port(asked: int | None) -> int:
    """The web port, checked before anything is started."""
    text = str(asked) if asked is not None else given("PORT") or str(DEFAULT_PORT)
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise Refusal(f"PORT must be a number from 1 to 65535, not {text!r}.")
    port = int(text)
    if not ports.is_free(port):
        raise Refusal(f"Port {port} is in use: stop what listens there, or try --port {port + 1}.")
    return port


def prepare_and_start(this: Run, up: Servers) -> list[logs.Follower]:
    """Schema, plans, administrator; then the processes, in the order they need each other."""
    owner = {"DATABASE_URL": this.variables["MIGRATE_DATABASE_URL"]}
    step("Bringing the schema and the plans up to date")
    _manage(this, "migrate", "--noinput", more=owner)
    _manage(this, "sync_plans")
    said = _manage(this, "ensure_admin")
    if said.rstrip().endswith(" made") and not given("ADMIN_PASSWORD"):
        # Remembered, in case this start fails before anyone has read the password.
        (this.places.data / UNSEEN).touch()
    step("Starting the platform")
    start = up.supervisor.start
    followers = [logs.Follower(child.log) for child in up.supervisor.children]

    def start_followed(spec: Spec, ready: Callable[[int], bool] | None = None) -> None:
        followers.append(logs.Follower(up.supervisor.logs / f"{spec.name}.log"))
        start(spec, ready)

    sandbox = this.variables.get("SANDBOX_URL")
    if sandbox and not given("STRIPE_API_BASE"):
        start_followed(this.spec("sandbox", "billing.sandbox"), lambda pid: _listens(sandbox))
    celery = ("celery", "-A", "config.celery")
    start_followed(
        # Longer than Celery's own soft shutdown, so that a task in hand goes back whole.
        this.spec(
            *("worker", *celery, "worker", "-l", "INFO", "--concurrency", "2"),
            *("--without-gossip", "--without-mingle"),
            grace=15.0,
        )
    )
    schedule = Path(this.variables["DATA_DIR"]) / "beat-schedule"
    start_followed(
        # No pid file: a stale one would keep beat from starting after a crash.
        this.spec("beat", *celery, "beat", "-l", "INFO", "--schedule", str(schedule), "--pidfile=")
    )
    start_followed(
        this.spec(
            *("web", "config.edge", "--host", ports.LOOPBACK, "--port", str(this.port)),
            # Longer than granian gives its own processes to finish.
            grace=15.0,
        ),
        lambda pid: _answers(this.port),
    )
    return followers


def watch(supervisor: Supervisor, followers: list[logs.Follower], *, verbose: bool) -> None:
    """Until a signal: restart what dies and show what is worth seeing."""
    while True:
        supervisor.tend()
        for follower in followers:
            logs.show([e for e in follower.entries() if verbose or worth_seeing(e)], raw=False)
        time.sleep(LOOK_AROUND)


def worth_seeing(entry: logs.Entry) -> bool:
    # To PostgreSQL every refused duplicate is an ERROR, and Valkey warns about the
    # kernel's settings at each start; here that is daily business.
    if entry.source in ("postgres", "valkey"):
        return entry.level == "critical"
    return entry.loud


def summary(this: Run) -> str:
    """What to know and do next. A generated password appears once, at the first start."""
    user = this.variables.get("ADMIN_USERNAME") or "admin"
    kept = this.places.data / "secrets.env"
    unseen = this.places.data / UNSEEN
    if unseen.exists():
        unseen.unlink()
        password = f"{this.variables['ADMIN_PASSWORD']}   (shown only this once)"
    else:
        password = f"as at the first start (new: ./dev manage changepassword {user})"
    lines = [
        "",
        paint("Metergate is running.", BOLD, sys.stdout),
        "",
        f"  API        {this.url}",
        f"  API docs   {this.url}/api/docs",
        f"  Admin      {this.url}/admin/",
        f"             user {user}, password {password}",
        f"  Data       {this.places.data}   (secrets: {kept.name})",
        "",
        "Try it:",
        f"  curl -s {this.url}/api/signup -H 'content-type: application/json' \\",
        """    -d '{"orgName": "Acme", "email": "ada@example.com"}'""",
        "",
        "Ctrl-C stops it; `./dev logs -f` shows everything it writes.",
        "",
    ]
    return "\n".join(lines)


def _manage(this: Run, *arguments: str, more: dict[str, str] | None = None) -> str:
    """Run a command of the project's quietly; what it says goes to a log and is returned."""
    done = subprocess.run(
        [this.env.python, "manage.py", *arguments],
        env=this.variables | (more or {}),
        cwd=this.places.project,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log = this.places.data / "logs" / "setup.log"
    with log.open("a") as file:
        file.write(done.stdout)
    if done.returncode != 0:
        raise Refusal(f"manage.py {arguments[0]} failed:\n{tail(log)}")
    return done.stdout


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=1):
            return True
    except OSError:
        return False


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(ports.LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
