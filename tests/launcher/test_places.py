import os
import stat
from pathlib import Path

import pytest

from config.launcher.accounts import Account, caller
from config.launcher.places import (
    LONGEST_SOCKET_PATH,
    find_places,
    private_folder,
    socket_folder,
)
from config.launcher.ui import Refusal


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


class Shut(Account):
    """An account that is let into nothing."""

    def can(self, test: str, path: Path) -> bool:
        return False


def test_everything_lives_in_the_project(project: Path, tmp_path: Path) -> None:
    places = find_places(caller(), project, tmp_path)

    assert places.venv == project / ".venv"
    assert places.data == project / ".data"
    assert stat.S_IMODE(places.data.stat().st_mode) == 0o700


def test_a_project_the_servers_cannot_reach_is_left_alone(project: Path, tmp_path: Path) -> None:
    me = caller()

    places = find_places(Shut(me.uid, me.gid, me.name), project, tmp_path)

    assert places.home.parent == tmp_path
    assert places.home.name.startswith(f"metergate-{os.geteuid()}-")
    assert list(project.iterdir()) == []


def test_two_projects_do_not_share_a_folder_elsewhere(project: Path, tmp_path: Path) -> None:
    me = caller()
    shut = Shut(me.uid, me.gid, me.name)
    other = tmp_path / "other"
    other.mkdir()

    homes = {find_places(shut, p, tmp_path).home for p in (project, other)}

    assert len(homes) == 2


def test_a_link_in_place_of_our_folder_is_refused(project: Path, tmp_path: Path) -> None:
    me = caller()
    shut = Shut(me.uid, me.gid, me.name)
    home = find_places(shut, project, tmp_path).home
    (home / ".data").rmdir()
    home.rmdir()
    home.symlink_to(project)

    with pytest.raises(Refusal, match="link or belongs to someone else"):
        find_places(shut, project, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 65534, 65534)

    with pytest.raises(Refusal, match="belongs to someone else"):
        private_folder(folder, caller())


def test_an_open_folder_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)

    private_folder(folder, caller())

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_sockets_fit_into_the_kernels_field_whatever_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))

    folder = socket_folder(caller())

    try:
        assert len(str(folder / ".s.PGSQL.5432.lock")) <= LONGEST_SOCKET_PATH
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        folder.rmdir()
