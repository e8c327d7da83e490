"""Which operating system account runs the servers.

PostgreSQL refuses to run as root, so root lends the servers an existing account.
Nothing is created and no permission outside our own folders is changed.
"""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from config.launcher.ui import Refusal


class SpawnAs(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """The account that owns the servers' processes, data files and sockets."""

    uid: int
    gid: int
    name: str

    @property
    def borrowed(self) -> bool:
        """True when it is not the account that runs the launcher (root lends one)."""
        return self.uid != os.geteuid()

    def spawn_as(self) -> SpawnAs:
        """Arguments for `subprocess` that start a process as this account."""
        if not self.borrowed:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        if self.borrowed:
            os.chown(path, self.uid, self.gid)

    def can(self, test: str, path: Path) -> bool:
        """Whether this account passes `test -<test> path`.

        Asked of the kernel as that account rather than worked out from mode bits,
        so that closed parents, ACLs and mount options all count.
        """
        if not self.borrowed:
            return os.access(path, {"x": os.X_OK, "r": os.R_OK, "w": os.W_OK}[test])
        asked = subprocess.run(
            ["/bin/sh", "-c", f'test -{test} "$1"', "sh", str(path)],
            cwd="/",
            check=False,
            capture_output=True,
            **self.spawn_as(),
        )
        return asked.returncode == 0


def server_account() -> Account:
    """The caller's own account, or for root `postgres`, else `nobody`."""
    if os.geteuid() != 0:
        return _entry_of(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_uid, entry.pw_gid, name)
    raise Refusal(
        "PostgreSQL does not run as root and there is neither a `postgres` nor a `nobody` "
        "account: run ./dev as another user, or set DATABASE_URL and VALKEY_URL."
    )


def caller() -> Account:
    """The account that runs the launcher."""
    return _entry_of(os.geteuid())


def _entry_of(uid: int) -> Account:
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        # A container may run under a number without a name. Only PostgreSQL minds
        # (initdb looks its user up), and says so when it is started.
        name = str(uid)
    return Account(uid, os.getegid(), name)
