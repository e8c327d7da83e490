"""A webhook goes to the open internet over TLS and nowhere near ourselves."""

import datetime as dt
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pytest_django import Settings

from billing.notifications import posting
from billing.notifications.destinations import Destination, Refused, may_send_to, read, resolve
from config.contract import clock
from tests.billing.receiver import receiving

OPEN = ("93.184.216.34", "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e")
SHUT = (
    # this machine and what stands for it
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "::1", "::"),  # noqa: S104
    # private, shared, link-local, unique local, site-local
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.1.1"),
    *("fe80::1", "fe80::1%lo", "fc00::1", "fd12:3456::1", "fec0::1"),
    # the clouds' metadata
    *("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "168.63.129.16"),
    # IPv4 inside of IPv6: mapped, compatible, translated, 6to4, Teredo
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "::ffff:0:127.0.0.1"),
    # documentation, benchmarks, protocols, multicast, reserved, broadcast
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1", "198.18.0.1"),
    *("192.0.0.1", "192.88.99.1", "224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1"),
    *("240.0.0.1", "255.255.255.255", "2001:2::1", "100::1", "not an address", ""),
)
REFUSED_URLS = (
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/"),
    *("//example.com/", "example.com", "https:///path", "https://", "javascript:alert(1)"),
    *("https://user@example.com/", "https://user:pw@example.com/", "https://@example.com/"),
    *("https://example.com/#x", "https://example.com/#", "https://example.com:22/"),
    *("https://example.com:8080/", "https://example.com:0/", "https://example.com:99999/"),
    *("https://localhost/", "https://intranet/", "https://127.0.0.1/", "https://127.1/"),
    *("https://0x7f000001/", "https://2130706433/", "https://0177.0.0.1/", "https://0/"),
    *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25lo]/", "https://[::]/"),
    *("https://169.254.169.254/latest/meta-data/", "https://10.0.0.1:443/", "https://[fd00::1]/"),
    *(
        "https://example.com/a b",
        "https://example.com/\r\nX: 1",
        "https://example.com\\@127.0.0.1/",
    ),
    *("https://exa\tmple.com/", "https://exämple.com/", "https://example.com/é", " https://a.b/"),
    *("https://127.0.0.1./", "https://%31%32%37.0.0.1/", "https://①②⑦.0.0.1/"),
)


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = False


@pytest.mark.parametrize("address", OPEN)
def test_the_open_internet_may_be_sent_to(address: str) -> None:
    assert may_send_to(address)


@pytest.mark.parametrize("address", SHUT)
def test_no_other_address_may_be_sent_to(address: str) -> None:
    assert not may_send_to(address)


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_such_a_url_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(Refused):
        read(url)


def test_a_url_is_read_into_its_parts() -> None:
    assert read("https://Hooks.Acme.example/a?b=c") == Destination(
        True, "hooks.acme.example", 443, "/a?b=c"
    )
    assert read("https://acme.example:8443").authority == "acme.example:8443"
    assert read("https://[2606:4700::1]/").authority == "[2606:4700::1]"


def test_where_this_machine_may_be_tried_it_alone_may_be_over_http(settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = True

    assert read("http://127.0.0.1:8123/x").port == 8123
    assert read("http://localhost/x").port == 80
    for url in ("http://example.com/", "http://10.0.0.1/", "https://10.0.0.1/"):
        with pytest.raises(Refused):
            read(url)


def test_a_name_that_leads_to_this_machine_is_refused_as_it_is_resolved() -> None:
    with pytest.raises(Refused):
        resolve(Destination(True, "localhost", 443, "/"))


def test_one_bad_address_among_good_ones_refuses_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def lies(*_: object, **__: object) -> list[object]:
        return [(2, 1, 6, "", (address, 443)) for address in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", lies)

    with pytest.raises(Refused):
        resolve(Destination(True, "rebinds.example", 443, "/"))


def test_a_name_is_asked_for_once_and_its_answer_is_what_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.NOTIFY_LOOPBACK = True
    asked = []
    really = socket.getaddrinfo

    def rebinds(host: str, *more: object, **named: object) -> object:
        # The first answer is fit; whoever asks again is led elsewhere.
        if host == "localhost":
            asked.append(host)
            host = "127.0.0.1" if len(asked) == 1 else "192.0.2.1"
        return really(host, *more, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinds)
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "localhost")

        answered = posting.post(url, body=b"{}", headers={})

    assert answered.accepted
    assert asked == ["localhost"]
    assert receiver.got[0].headers["host"].startswith("localhost:")


def test_what_was_saved_before_the_rules_is_refused_at_the_send() -> None:
    with receiving() as receiver:
        answered = posting.post(receiver.url, body=b"{}", headers={})

    assert answered.error == "address_refused"
    assert receiver.got == []


def test_a_receiver_that_drips_is_left_after_the_whole_time(settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = True
    settings.NOTIFY_SECONDS = 0.3
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            while not stop.is_set():
                try:
                    link.sendall(b"H")
                except OSError:
                    return
                stop.wait(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        answered = posting.post(url, body=b"{}", headers={})

        stop.set()
        thread.join()
    assert answered.error == "timed_out"


def test_a_receiver_that_talks_without_end_is_not_listened_to(settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = True
    sent = []

    def flood(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            link.recv(65536)
            link.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            try:
                for _ in range(1000):
                    link.sendall(b"x" * 65536)
                    sent.append(65536)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=flood, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        answered = posting.post(url, body=b"{}", headers={})

        thread.join()
    assert answered.status == 200
    assert len(sent) < 1000


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"", "connection_failed"), (b"nonsense\r\n\r\n", "connection_failed")],
)
def test_what_is_no_answer_is_a_failure(answer: bytes, error: str, settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = True

    def speak(listener: socket.socket) -> None:
        link, _ = listener.accept()
        with link:
            link.recv(65536)
            link.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=speak, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

        answered = posting.post(url, body=b"{}", headers={})

        thread.join()
    assert answered.error == error


def test_nobody_listening_is_a_failure(settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = True
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"

    assert posting.post(url, body=b"{}", headers={}).error == "connection_refused"


@contextmanager
def over_tls(folder: Path, name: str) -> Iterator[int]:
    """Listen with a certificate of its own for `name`; yield the port."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = clock.real_now()
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        alternative = x509.DNSName(name)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802 - the library's name
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Path]:
    """A folder whose certificate.pem the sender trusts, as an operator's own authority."""
    settings.NOTIFY_LOOPBACK = True
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    posting._tls.cache_clear()
    yield tmp_path
    posting._tls.cache_clear()


def test_over_tls_the_name_is_verified(trusted: Path) -> None:
    with over_tls(trusted, "localhost") as port:
        named = posting.post(f"https://localhost:{port}/", body=b"{}", headers={})
        by_address = posting.post(f"https://127.0.0.1:{port}/", body=b"{}", headers={})

    assert named.status == 204
    assert by_address.error == "tls_failed"


def test_a_certificate_of_nobodys_is_refused(tmp_path: Path, settings: Settings) -> None:
    settings.NOTIFY_LOOPBACK = True
    with over_tls(tmp_path, "localhost") as port:
        answered = posting.post(f"https://localhost:{port}/", body=b"{}", headers={})

    assert answered.error == "tls_failed"
