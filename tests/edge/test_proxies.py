"""The two configurations that docs/operations.md shows, before a web process as it is shipped."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.edge.wire import ask, head, in_chunks, post
from tests.support.cast import Org
from tests.support.live import Live, free_port

pytestmark = pytest.mark.django_db(transaction=True)

CONFIGURATIONS = Path(__file__).parent / "proxies"
REFRESH = json.dumps({"refreshToken": "mgr_x"}).encode()


@pytest.fixture(params=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, served: Live, tmp_path: Path
) -> Iterator[tuple[str, Live]]:
    """A proxy before the web process: its name, and where it listens."""
    name = str(request.param)
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed here")
    port = free_port()
    source = CONFIGURATIONS / ("nginx.conf" if name == "nginx" else "Caddyfile")
    text = source.read_text().replace("127.0.0.1:8000", urlsplit(served.base).netloc)
    text = text.replace("8080", str(port))
    target = tmp_path / source.name
    if name == "nginx":
        text = f"pid {tmp_path}/pid; daemon off; error_log stderr;\n{text}"
        command = [program, "-c", str(target), "-p", str(tmp_path)]
    else:
        text = text.replace("{\n\tservers", "{\n\tadmin off\n\tauto_https off\n\tservers", 1)
        command = [program, "run", "--config", str(target), "--adapter", "caddyfile"]
    target.write_text(text)
    process = subprocess.Popen(command)  # noqa: S603 - a proxy of this machine
    proxy = Live(f"http://127.0.0.1:{port}", served.env)
    try:
        _wait(proxy, process)
        yield name, proxy
    finally:
        process.terminate()
        process.wait(10)


def _wait(proxy: Live, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            if ask(proxy, head("GET", "/healthz")).status == 200:
                return
        except (OSError, IndexError):
            pass
        time.sleep(0.05)  # polling a process that has no other way to say it is up
    raise AssertionError("the proxy did not answer")


def test_behind_a_proxy_no_client_chooses_the_address_it_is_braked_by(
    proxied: tuple[str, Live],
) -> None:
    name, proxy = proxied
    # Each proxy's test is of an address of its own: as its client, 127.0.0.1, both are one.
    statuses = [
        ask(
            proxy,
            post(
                "/api/tokens/refresh",
                REFRESH,
                f"X-Forwarded-For: 203.0.113.{number}",
                f"X_Forwarded_For: 198.51.100.{number}",
            ),
        ).status
        for number in range(4)
    ]

    assert statuses[2:] == [429, 429]


def test_behind_a_proxy_chunked_bodies_and_open_connections_work(
    proxied: tuple[str, Live], org: Org
) -> None:
    _, proxy = proxied
    body = json.dumps({"orgId": org.id, "metric": "api_call"}).encode()
    bearer = f"Authorization: Bearer {org.tokens.access_token}"
    about = ("Content-Type: application/json", "Transfer-Encoding: chunked", bearer)

    chunked = ask(proxy, head("POST", "/api/quota/check", *about), in_chunks(body, 10))
    plain = [ask(proxy, post("/api/quota/check", body, bearer)) for _ in range(5)]

    assert chunked.data["allow"] is True
    assert all(answer.data["allow"] for answer in plain)


def test_behind_a_proxy_what_is_for_us_is_not_for_all(proxied: tuple[str, Live]) -> None:
    name, proxy = proxied

    # Asked from this machine, which the nginx of the docs lets through.
    assert ask(proxy, head("GET", "/metrics")).status == (200 if name == "nginx" else 403)
