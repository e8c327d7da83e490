"""Where the environment and the data live.

Normally `<project>/.venv` and `<project>/.data`. When the project cannot be written,
or the servers' account cannot reach into it (root working below /root), everything
moves to a folder of our own under /var/tmp.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from config.launcher.accounts import Account
from config.launcher.ui import Refusal

PROJECT = Path(__file__).resolve().parents[2]
ELSEWHERE = Path("/var/tmp")  # noqa: S108 - survives a reboot; the folder in it is checked

# PostgreSQL and Valkey refuse socket paths the kernel's 108 byte field cannot hold.
LONGEST_SOCKET_PATH = 107
LONGEST_SOCKET_NAME = len("/.s.PGSQL.5432.lock")


@dataclass(frozen=True)
class Places:
    project: Path
    home: Path
    account: Account

    @property
    def venv(self) -> Path:
        return self.home / ".venv"

    @property
    def data(self) -> Path:
        return self.home / ".data"


def find_places(account: Account, project: Path = PROJECT, elsewhere: Path = ELSEWHERE) -> Places:
    """Decide once per call where things live, and make the data folder."""
    home = project
    if not _usable(project, account):
        home = _own_folder(elsewhere, project, account)
    places = Places(project, home, account)
    private_folder(places.data, account)
    return places


def _usable(project: Path, account: Account) -> bool:
    for path in (project, project / ".venv", project / ".data"):
        if not path.exists():
            continue
        if not os.access(path, os.W_OK | os.X_OK) or not account.can("x", path):
            return False
    data = project / ".data"
    return not data.exists() or data.stat().st_uid == os.geteuid()


def _own_folder(elsewhere: Path, project: Path, account: Account) -> Path:
    digest = hashlib.sha256(os.fsencode(project)).hexdigest()[:12]
    folder = elsewhere / f"metergate-{os.geteuid()}-{digest}"
    private_folder(folder, account)
    return folder


def private_folder(path: Path, account: Account) -> Path:
    """Make (or accept) a folder nobody else can list; refuse one that is not ours.

    With a borrowed account others may pass through (0711) but not look: the servers
    have to reach their own folder below, whose mode is 0700.
    """
    mode = 0o711 if account.borrowed else 0o700
    path.mkdir(mode=mode, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Refusal(f"{path} is a link or belongs to someone else, so it will not be used.")
    if stat.S_IMODE(found.st_mode) != mode:
        path.chmod(mode)
    return path


def server_folder(path: Path, account: Account) -> Path:
    """A folder that belongs to the servers' account alone."""
    path.mkdir(mode=0o700, exist_ok=True)
    account.own(path)
    return path


def socket_folder(account: Account) -> Path:
    """A new, short, private folder for the servers' sockets.

    It belongs to the servers' account with mode 0700: only that account, which owns
    the data files anyway, and root can reach the sockets.
    """
    candidates = [Path("/tmp"), Path(tempfile.gettempdir()), ELSEWHERE]  # noqa: S108
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and not account.borrowed:
        candidates.insert(0, Path(runtime))
    for parent in candidates:
        too_long = (
            len(os.fsencode(parent)) + len("/mg-12345678") + LONGEST_SOCKET_NAME
            > LONGEST_SOCKET_PATH
        )
        if too_long or not os.access(parent, os.W_OK | os.X_OK) or not account.can("x", parent):
            continue
        folder = Path(tempfile.mkdtemp(prefix="mg-", dir=parent))
        account.own(folder)
        return folder
    raise Refusal("There is no writable folder with a path short enough for Unix sockets.")
