"""`python -m config.edge --port 8000`: the web process, safe to face a network."""

import argparse
import resource

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from config.edge.worker import serve

#: Bytes of a head at most.
_HEAD_BYTES = 64 * 1024
#: Connections of one process at most; the next ones wait to be accepted.
_CONNECTIONS = 8192
#: Seconds in which a process that was told to stop answers what it has taken in: as long as
#: a request may wait for its turn, and for Stripe then.
_STOP_SECONDS = 30
#: Files a process needs beside its connections.
_OTHER_FILES = 512


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m config.edge", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--application", default="config.wsgi:application")
    options = parser.parse_args()
    Granian(
        options.application,
        address=options.host,
        port=options.port,
        interface=Interfaces.RSGI,
        workers=options.workers,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        backpressure=_connections(),
        http1_settings=HTTP1Settings(max_buffer_size=_HEAD_BYTES),
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
    ).serve(spawn_target=serve)


def _connections() -> int:
    """Allow as many connections as there may be files for, and allow these files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS + _OTHER_FILES
    allowed = wanted if most == resource.RLIM_INFINITY else min(most, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    return max(128, allowed - _OTHER_FILES)


if __name__ == "__main__":
    main()
