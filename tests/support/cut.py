"""A way to PostgreSQL that a test may cut and mend, without touching the server."""

import os
import shutil
import socket
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from django.db import connection

_SOCKET = ".s.PGSQL.5432"


class Cut:
    """Passes connections on to the tests' PostgreSQL while it is open."""

    def __init__(self) -> None:
        parameters = connection.get_connection_params()
        self._server = f"{parameters['host']}/{_SOCKET}"
        # A socket's path may have 107 characters; a test's own folder is longer.
        self._folder = Path(tempfile.mkdtemp(prefix="mg-cut-"))
        user, database = parameters["user"], parameters["dbname"]
        self.url = f"postgres://{user}@/{database}?host={quote(str(self._folder), safe='')}"
        self._listener: socket.socket | None = None
        self._links: list[socket.socket] = []

    def mend(self) -> None:
        """Let connections through from now on."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._folder / _SOCKET))
        listener.listen(64)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        if self._listener is not None:
            # Closing alone would leave the accepting thread in its call.
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            os.unlink(self._folder / _SOCKET)
            self._listener = None
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
        self._links.clear()

    def close(self) -> None:
        """End everything."""
        self.cut()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._links += (client, server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
    source.close()
