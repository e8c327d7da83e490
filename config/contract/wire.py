"""One connection to Valkey for each thread, and nothing between a command and its answer.

redis-py's client lends a connection from a pool, walks its retry policy and its
hooks for each command: that costs more than the command. What it does well,
connecting, speaking the protocol, time-outs, is used here as it is.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry


class Wire:
    """Sends single commands. Each thread has a connection of its own."""

    def __init__(self, url: str) -> None:
        self._maker = redis.ConnectionPool.from_url(
            url,
            socket_timeout=settings.COPY_TIMEOUT,
            socket_connect_timeout=settings.COPY_TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            protocol=2,
        )
        self._mine = threading.local()
        self._all: weakref.WeakSet[redis.Connection] = weakref.WeakSet()

    def ask(self, *command: bytes | str | int) -> Any:
        """Return the answer to one command, texts as bytes. Raises redis.RedisError.

        A command may reach the server twice: when the connection was lost (the
        server was restarted, say), it is sent once more over a new one. Not so
        after a time-out.
        """
        link = self._link()
        try:
            return _ask(link, command)
        except redis.ConnectionError:  # a time-out is none of these
            return _ask(link, command)

    def ask_all(self, commands: Sequence[Sequence[bytes | str | int]]) -> list[Any]:
        """Send commands together and return the answers in order; refused ones are exceptions.

        For what may be lost: after redis.RedisError nobody knows which of them arrived.
        """
        link = self._link()
        link.send_packed_command(link.pack_commands(commands), check_health=False)
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(link.read_response(disable_decoding=True))
            except redis.ResponseError as refused:
                answers.append(refused)
        return answers

    def close(self) -> None:
        """Close the connections of all threads."""
        link: Any
        for link in list(self._all):
            link.disconnect()

    def _link(self) -> Any:
        mine = self._mine
        if getattr(mine, "pid", None) != os.getpid():  # a connection does not survive a fork
            mine.link, mine.pid = self._maker.make_connection(), os.getpid()
            self._all.add(mine.link)
        return mine.link


def _ask(link: Any, command: tuple[bytes | str | int, ...]) -> Any:
    # Both disconnect when they fail, so that no late answer is taken for the next one's.
    link.send_packed_command(link.pack_command(*command), check_health=False)
    return link.read_response(disable_decoding=True)
