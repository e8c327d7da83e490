import stat
from pathlib import Path

from config.launcher.instance import Instance, State


def test_a_data_folder_has_one_owner_who_is_named(tmp_path: Path) -> None:
    first, second = Instance(tmp_path), Instance(tmp_path)

    assert first.claim("run") is None
    first.publish(State(4711, "run"))

    assert second.claim("run") == State(4711, "run")


def test_the_folder_is_free_once_its_owner_let_go(tmp_path: Path) -> None:
    first, second = Instance(tmp_path), Instance(tmp_path)
    first.claim("run")
    first.publish(State(4711, "run"))

    first.lock.release()

    assert second.claim("run") is None


def test_a_pid_nobody_has_is_not_a_holder(tmp_path: Path) -> None:
    instance = Instance(tmp_path)

    assert not instance.holder_alive(State(2**22 + 1, "run"))
    assert instance.holder_alive(State(1, "run"))


def test_what_others_may_read_holds_no_passwords(tmp_path: Path) -> None:
    instance = Instance(tmp_path)

    instance.publish(State(1, "run", addresses={"DATABASE_URL": "postgresql://u:pw@h/d"}))

    assert stat.S_IMODE((tmp_path / "instance.json").stat().st_mode) == 0o600
