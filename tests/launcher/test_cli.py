import contextlib
import socket
import subprocess
import sys

import pytest

from config.launcher.cli import COMMANDS, main
from config.launcher.places import PROJECT
from config.launcher.run import chosen_port
from config.launcher.ui import Refusal

pytestmark = pytest.mark.enable_socket


def test_without_a_command_every_command_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in COMMANDS)


def test_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rum"]) == 2
    assert "'rum'" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"shell"}))
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # argparse's way of ending
        main([name, "--help"])

    assert "usage: ./dev" in capsys.readouterr().out


def test_only_the_standard_library_is_needed() -> None:
    """It runs before there is an environment: -S hides all installed packages."""
    done = subprocess.run(  # noqa: S603 - our own file
        [sys.executable, "-I", "-S", str(PROJECT / "dev")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert done.stdout.startswith("usage: ./dev <command>")


def test_a_busy_port_is_named_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with pytest.raises(Refusal, match=f"Port {port} is in use"):
            chosen_port(port)


@pytest.mark.parametrize("text", ["abc", "0", "70000", "-1"])
def test_nonsense_in_port_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", text)

    with pytest.raises(Refusal, match="PORT must be a number"):
        chosen_port(None)
