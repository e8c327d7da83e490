"""A Valkey of our own: a fast copy and a doorbell, so nothing of it is kept on disk."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from config.launcher.accounts import Account
from config.launcher.process import Spec


@dataclass(frozen=True)
class Valkey:
    binary: Path
    sockets: Path
    account: Account

    @property
    def socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self.socket))}?db=0"

    @property
    def broker_url(self) -> str:
        """The same server for Celery, in another numbered database, as kombu spells it."""
        return f"redis+socket://{quote(str(self.socket))}?virtual_host=1"

    def spec(self) -> Spec:
        settings = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.sockets),
            "save": "",
            "appendonly": "no",
            # The broker lives here too: a full memory refuses, it never drops messages.
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        argv = [str(self.binary)]
        for name, value in settings.items():
            argv += [f"--{name}", value]
        return Spec(
            name="valkey",
            argv=argv,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            cwd=self.sockets,
            account=self.account,
            stop_signal=signal.SIGTERM,
            grace=5.0,
        )

    def ready(self, pid: int) -> bool:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(1)
                client.connect(str(self.socket))
                client.sendall(b"PING\r\n")
                return client.recv(16).startswith(b"+PONG")
        except OSError:
            return False
