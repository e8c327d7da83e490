import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from config.launcher import venv
from config.launcher.ui import Refusal


@pytest.fixture
def env(interpreter: Path, tmp_path: Path) -> venv.Environment:
    requirements = tmp_path / "requirements"
    requirements.mkdir()
    for name in ("base", "dev", "embedded"):
        (requirements / f"{name}.txt").write_text(f"# {name}\n")
    return venv.Environment(interpreter, requirements, tmp_path / "environment.lock")


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which requirement files were handed to pip, which is not really started."""
    handed: list[str] = []
    real = subprocess.run

    def run(argv: list[str], **options: Any) -> object:
        if "install" in argv:
            handed.append(Path(str(argv[-1])).stem)
            return subprocess.CompletedProcess(argv, 0, "", "")
        return real(argv, **options)

    monkeypatch.setattr(subprocess, "run", run)
    return handed


def test_nothing_is_installed_twice(env: venv.Environment, installs: list[str]) -> None:
    for _ in range(2):
        venv.ensure(env, venv.RUN)

    assert installs == ["base", "embedded"]


def test_a_changed_file_is_installed_again(env: venv.Environment, installs: list[str]) -> None:
    venv.ensure(env, venv.RUN)
    (env.requirements / "base.txt").write_text("# changed\n")

    venv.ensure(env, venv.RUN)

    assert installs == ["base", "embedded", "base"]


def test_running_after_testing_installs_nothing(env: venv.Environment, installs: list[str]) -> None:
    venv.ensure(env, venv.DEVELOP)

    venv.ensure(env, venv.RUN)

    assert installs == ["dev", "embedded"]


def test_another_python_means_installing_again(env: venv.Environment, installs: list[str]) -> None:
    venv.ensure(env, venv.RUN)
    stamp = json.loads(env.stamp.read_text())
    older = env.wanted(venv.RUN, "3.10")

    assert stamp != older
    env.stamp.write_text(json.dumps(older))
    assert env.missing(venv.RUN) == ["base", "embedded"]


def test_an_environment_cut_short_does_not_count(
    env: venv.Environment, installs: list[str]
) -> None:
    venv.ensure(env, venv.RUN)

    env.unfinished.touch()

    assert env.missing(venv.RUN) == ["base", "embedded"]


def test_an_interpreter_that_does_not_start_does_not_count(
    env: venv.Environment, installs: list[str]
) -> None:
    venv.ensure(env, venv.RUN)

    env.python.unlink()
    env.python.symlink_to("/nowhere/python")

    assert env.missing(venv.RUN) == ["base", "embedded"]


def test_without_ensurepip_the_package_is_named(
    env: venv.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.python.unlink()
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else real(name)
    )

    with pytest.raises(Refusal, match="python3-venv"):
        venv.ensure(env, venv.RUN)
