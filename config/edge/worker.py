"""The process that granian starts for us, and all we know of granian's insides.

Of granian's ways into Python, WSGI reads bodies in the thread that serves them,
and ASGI and RSGI lead every request through an event loop, which costs more than
much of a check (docs/decisions.md has the figures). What RSGI gives its loop,
a request's head and the means to read its body and to answer, is taken here
without one: granian's own threads call `Door`, and a body that has arrived calls
back from such a thread.

Written against granian 2.8 (pinned); tests/edge hold each thing relied on here.
"""

import gc
import os
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import structlog

# Not typed, or typed as of another release.
_rust: Any = import_module("granian._granian")
_signals: Any = import_module("granian._signals")
_processes: Any = import_module("granian.server.mp")

logger = structlog.get_logger("metergate.edge")

#: Threads for heads and bodies, beyond those that the hot lane may keep busy. Each one more
#: makes every request dearer: the threads take turns, and each finds its memory gone cold.
_SPARE_THREADS = 2
_THREAD_IDLE_SECONDS = 600
#: How long one Python thread keeps the others waiting, in seconds. Python's own is 5 ms: heads
#: and bodies would come one at a time between turns of a busy thread, and a check that arrives
#: behind a crowd's would wait for all of them before any share is looked at.
_SWITCH_SECONDS = 0.0001


#: New objects before a look for cycles, and looks at the young before one at the older:
#: a request makes some thousands, and leaves none.
_COLLECT = (10_000, 10, 10)


class _NoLoop:
    """Stands where granian looks for an event loop: what it would be told, is called."""

    def call_soon(self, callback: Callable[..., Any], *given: Any, context: Any = None) -> None:
        """Call back at once, in the thread that has the news."""
        try:
            callback(*given)
        except BaseException:  # noqa: BLE001 - granian would swallow it
            logger.exception("edge_failed")

    call_soon_threadsafe = call_soon


def _nothing(*_: Any) -> None:
    """Granian tells which task it enters and leaves; there are none."""


def _settle() -> None:
    """Load what the first request would, and take all of it out of the collector's sight.

    A full collection holds every thread up for as long as it looks at each object of the
    process; what is loaded now stays for good.
    """
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018 - it imports every view
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT)


def _listening(given: Any, seconds: float) -> Any:
    """Listen where granian says, and give up on clients that take nothing for so many seconds.

    The kernel does that; connections inherit it from the socket that accepts them.
    """
    address, holder = given
    if holder is None:
        holder = address.build()
    with socket.socket(fileno=os.dup(holder.get_fd())) as listener:
        if listener.family != socket.AF_UNIX:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))
    return None, holder


@_processes.WorkerProcess.wrap_target  # type: ignore[untyped-decorator]
def serve(
    worker_id: int,
    application: Any,
    sock: Any,
    ipc: Any,
    _loop: Any,
    runtime_mode: Any,
    runtime_threads: int,
    runtime_blocking_threads: int,
    _blocking_threads: int,
    _blocking_threads_idle_timeout: int,
    backpressure: int,
    _task_impl: Any,
    http_mode: Any,
    http1: Any,
    http2: Any,
    websockets: bool,
    static_path: Any,
    _access_log: Any,
    ssl: Any,
    _scope_opts: Any,
    metrics: Any,
) -> None:
    """Serve `application` (WSGI) until SIGTERM; then finish what is under way."""
    from django.conf import settings

    from config.edge.door import Door

    sys.setswitchinterval(_SWITCH_SECONDS)
    door = Door(application)
    door.start()
    _settle()

    def take(watcher: Any) -> None:
        try:
            door(watcher.scope, watcher.proto)
        except BaseException as error:  # noqa: BLE001 - nobody above would hear of it
            logger.exception("edge_failed")
            watcher.err(error)

    sock = _listening(sock, settings.WEB_ANSWER_SECONDS)
    loop, stopping = _NoLoop(), _signals.set_sync_signals()
    stopped = threading.Event()
    stopping.add_cb(stopped.set)
    worker = _rust.RSGIWorker(
        worker_id,
        sock,
        ipc,
        runtime_threads,
        runtime_blocking_threads,
        settings.WEB_HOT_THREADS + _SPARE_THREADS,
        _THREAD_IDLE_SECONDS,
        backpressure,
        http_mode,
        replace(http1, header_read_timeout=int(settings.WEB_HEAD_SECONDS * 1000)),
        http2,
        websockets,
        static_path,
        *ssl,
        metrics,
    )
    scheduler = _rust.CallbackScheduler(loop, take, None, _nothing, _nothing)
    scheduler._schedule_fn = take
    run = getattr(worker, _processes.WORKERS_METHODS[runtime_mode][(sock[0] or sock[1]).is_uds()])
    run(scheduler, loop, stopping)
    stopped.wait()
