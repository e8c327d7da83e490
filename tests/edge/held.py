"""The application as it is shipped, but that a request which says so keeps its thread.

It goes on where the test opens the gate (`tests.edge.gate`).
"""

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from config.wsgi import application as shipped

_GATE = Path(os.environ["GATE"])


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Note the name under which a request is to be held, wait for the gate, and answer."""
    name = environ.get("HTTP_X_HELD")
    if name is not None:
        with (_GATE / "inside").open("ab", buffering=0) as inside:
            inside.write(f"{name}\n".encode())
        with (_GATE / "closed").open() as closed:
            fcntl.flock(closed, fcntl.LOCK_SH)
    answer: Iterable[bytes] = shipped(environ, start_response)
    return answer
