"""A PostgreSQL cluster of our own: making it, starting it, knowing when it is ready."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from config.launcher.accounts import Account, caller
from config.launcher.binaries import PostgresBinaries
from config.launcher.guard import alive
from config.launcher.places import server_folder
from config.launcher.process import Spec, wait_until
from config.launcher.ui import Refusal

SUPERUSER = "postgres"
ROLES = ("metergate_owner", "metergate_app", "metergate_sandbox", SUPERUSER)

# Test data may be lost with the machine; nothing else may differ from production.
FORGETFUL = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}


@dataclass(frozen=True)
class Postgres:
    binaries: PostgresBinaries
    data: Path
    sockets: Path
    account: Account
    durable: bool = True
    max_connections: int = 100

    def url(self, role: str, database: str) -> str:
        """A URL that libpq, psycopg and django-environ read alike.

        django-environ does not decode a percent-encoded host, so the folder goes
        into the query.
        """
        return f"postgresql://{role}@/{database}?host={quote(str(self.sockets))}"

    def prepare(self) -> None:
        """Make the cluster when there is none, and refuse one we cannot run."""
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(self.binaries.major):
            raise Refusal(
                f"The data in {self.data} was made by PostgreSQL {made_by} and this is "
                f"{self.binaries.major}: install version {made_by}, or start empty with "
                "`./dev reset`."
            )
        self._write_access_rules()
        self._deal_with_leftover()

    def spec(self) -> Spec:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.sockets),
            "unix_socket_permissions": "0700",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "max_connections": str(self.max_connections),
            "logging_collector": "off",
            "log_line_prefix": "%m [%p] %q%u@%d ",
            **({} if self.durable else FORGETFUL),
        }
        argv = [str(self.binaries.postgres), "-D", str(self.data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        return Spec(
            name="postgres",
            argv=argv,
            env=_server_environment(),
            cwd=self.data,
            account=self.account,
            # SIGINT is the fast shutdown: sessions are ended, everything is on disk.
            # SIGTERM would wait for sessions that may never end.
            stop_signal=signal.SIGINT,
            grace=20.0,
        )

    def ready(self, pid: int) -> bool:
        """Whether this very server accepts connections, as pg_ctl finds it out."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        # A server that was killed has left its own file behind, saying `ready`.
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _initdb(self) -> None:
        # Under another name first: a folder called `postgres` is a finished one.
        unfinished = self.data.with_name(self.data.name + ".unfinished")
        if unfinished.exists():
            shutil.rmtree(unfinished)
        server_folder(unfinished, self.account)
        locale = (
            ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if self.binaries.major >= 17
            else ["--locale=C.UTF-8"]
        )
        made = subprocess.run(
            [
                *(self.binaries.initdb, "-D", unfinished, "-U", SUPERUSER),
                *("--encoding=UTF8", *locale, "--auth=reject", "--no-instructions"),
                *([] if self.durable else ["--no-sync"]),
            ],
            cwd=unfinished,
            env=_server_environment(),
            capture_output=True,
            text=True,
            check=False,
            **self.account.spawn_as(),
        )
        if made.returncode != 0:
            lines = made.stderr.strip().splitlines() or [f"exit code {made.returncode}"]
            error = next((line for line in lines if "error" in line), lines[-1])
            raise Refusal(f"PostgreSQL could not make its data folder: {error}")
        unfinished.rename(self.data)

    def _write_access_rules(self) -> None:
        """Who may connect: whoever started ./dev, proven by the kernel.

        `peer` asks the kernel which account is at the other end of the socket, so there
        is no password to keep; the socket folder (0700) is the first wall. Written at
        every start because another account may be the one that starts it.
        """
        name = caller().name.replace('"', '""')
        roles = ("all",) if self.binaries.major >= 16 else ROLES
        self._write("pg_hba.conf", "local all all peer map=launcher\n")
        self._write("pg_ident.conf", "".join(f'launcher "{name}" {role}\n' for role in roles))

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        self.account.own(path)

    def _deal_with_leftover(self) -> None:
        """Stop a server that outlived its supervisor; forget one that is long gone.

        Called with the data folder's lock held, so a live server in it is an orphan.
        A pid that now belongs to something else would keep PostgreSQL from starting.
        """
        pidfile = self.data / "postmaster.pid"
        try:
            pid = int(pidfile.read_text().splitlines()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return
        if os.fsencode(self.data) in command:
            os.kill(pid, signal.SIGINT)
            if not wait_until(lambda: not alive(pid), seconds=20):
                raise Refusal(f"A PostgreSQL from before (pid {pid}) does not stop; end it first.")
            return
        pidfile.unlink()


def _server_environment() -> dict[str, str]:
    # Nothing of the caller's: PGDATA, PGPORT, LC_* and TZ would all be obeyed.
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
