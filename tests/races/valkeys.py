"""A Valkey of a test's own, which may be killed without hurting anyone."""

import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from pathlib import Path

from config.launcher.accounts import caller
from config.launcher.binaries import find_valkey
from config.launcher.valkey import Valkey

_START_SECONDS = 10


class OwnValkey:
    """One server on its own socket, started and ended at will. It keeps nothing on disk."""

    def __init__(self) -> None:
        # A socket's path may have 107 characters; a test's own folder is longer.
        self._folder = Path(tempfile.mkdtemp(prefix="mg-valkey-"))
        site_packages = Path(sysconfig.get_paths()["purelib"])
        self._server = Valkey(find_valkey(site_packages, caller()), self._folder, caller())
        self._process: subprocess.Popen[bytes] | None = None
        self.url = self._server.url

    def start(self) -> None:
        """Start it, empty, and return when it answers."""
        spec = self._server.spec()
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            spec.argv, cwd=spec.cwd, env=spec.env, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._server.ready(self._process.pid):
            assert time.monotonic() < deadline, "Valkey did not start"
            time.sleep(0.01)  # polling a process that has no other way to say it is up

    def kill(self) -> None:
        """End it at once; what it held is gone, and connecting to it is refused."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)

    def pause(self) -> None:
        """Let it hang: it accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on with what it held before."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
