"""A writer process: the web process's own WSGI application, called by threads.

One job a line on stdin, one answer a line on stdout. It is killed at will, so
each answer is written the moment it is known.
"""

import io
import json
import sys
import threading
from typing import Any

Answered = tuple[int, bool, str]


def main() -> None:
    """Serve jobs until stdin ends."""
    from config.wsgi import application

    _say("ready")
    for line in sys.stdin:
        job = json.loads(line)
        _work(application, job["token"], job["calls"], job["threads"])
        _say("done")


def call(application: Any, token: str, path: str, body: str) -> Answered:
    """Return status, whether it was a replay, and the body's text."""
    raw = body.encode()
    environ = {
        "REQUEST_METHOD": "POST" if raw else "GET",
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(raw)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(raw),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    head: list[Any] = []
    response = application(environ, lambda status, headers: head.extend((status, headers)))
    try:
        text = b"".join(response).decode()
    finally:
        response.close()  # what ends the request for Django: connections go back
    names = {name.lower() for name, _ in head[1]}
    return int(head[0].split()[0]), "idempotent-replayed" in names, text


def _work(application: Any, token: str, calls: list[tuple[str, str]], threads: int) -> None:
    todo = iter(enumerate(calls))
    taking = threading.Lock()

    def one_thread() -> None:
        while True:
            with taking:
                taken = next(todo, None)
            if taken is None:
                return
            index, (path, body) = taken
            _say([index, *call(application, token, path, body)])

    crew = [threading.Thread(target=one_thread) for _ in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()


_saying = threading.Lock()


def _say(what: Any) -> None:
    with _saying:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
