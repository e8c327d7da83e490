"""TCP ports: the web's, which must be free, and the sandbox's, which should stay the same."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As the servers do it: connections that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError):
            return False
    return True


def any_free() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def remembered(path: Path, avoid: int = 0) -> int:
    """The port written in this file while it is free, else another that is written there."""
    with contextlib.suppress(OSError, ValueError):
        port = int(path.read_text())
        if 1024 <= port <= 65535 and port != avoid and is_free(port):
            return port
    port = any_free()
    while port == avoid:
        port = any_free()
    path.write_text(f"{port}\n")
    return port
