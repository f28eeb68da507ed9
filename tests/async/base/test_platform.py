"""What a platform has, and what is done on one that lacks it."""

import itertools
import os
import time
from pathlib import Path

import pytest

from lume_async._base import platform


@pytest.fixture
def on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "IS_POSIX", False)


def refusing(monkeypatch: pytest.MonkeyPatch, times: int) -> list[float]:
    """`os.replace` refuses so often, as while a scanner has a file open; the naps that were taken."""
    real, naps, tries, now = os.replace, list[float](), itertools.count(), [0.0]

    def replace(source: object, target: object) -> None:
        if next(tries) < times:
            raise PermissionError(13, "Access is denied")
        real(source, target)  # type: ignore[arg-type]

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return naps


def files(folder: Path) -> tuple[Path, Path]:
    new, old = folder / "new", folder / "old"
    new.write_text("new")
    old.write_text("old")
    return new, old


@pytest.mark.usefixtures("on_windows")
def test_a_file_that_is_open_for_a_moment_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, old = files(tmp_path)
    naps = refusing(monkeypatch, 3)

    platform.replace(new, old)

    assert (old.read_text(), len(naps)) == ("new", 3)


@pytest.mark.usefixtures("on_windows")
def test_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    new, old = files(tmp_path)
    naps = refusing(monkeypatch, 1_000)

    with pytest.raises(PermissionError):
        platform.replace(new, old)

    assert old.read_text() == "old"
    assert 0.9 < sum(naps) < 1.2


@pytest.mark.skipif(not platform.IS_POSIX, reason="another system")
def test_where_open_files_can_be_replaced_a_refusal_is_final(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = refusing(monkeypatch, 1)

    with pytest.raises(PermissionError):
        platform.replace(*files(tmp_path))

    assert naps == []


def test_where_there_are_no_forks_nothing_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork", raising=False)
    platform.at_fork(before=lambda: None, after_in_child=lambda: None)


def test_a_file_is_nobodys_where_owners_are_not_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    about = (tmp_path / "file").stat()
    assert platform.is_own(about) is platform.IS_POSIX
    monkeypatch.delattr(os, "getuid", raising=False)
    assert not platform.is_own(about)


@pytest.mark.parametrize(
    ("words", "unix", "windows"),
    [
        (["lume", "wait", "run_1"], "lume wait run_1", "lume wait run_1"),
        (["lume", "--flow", r"C:\data\a.csv"], r"lume --flow 'C:\data\a.csv'", r"lume --flow C:\data\a.csv"),
        (["lume", r"C:\my data\a.csv"], r"lume 'C:\my data\a.csv'", r'lume "C:\my data\a.csv"'),
        (["pip", "lume-client[cli]"], "pip 'lume-client[cli]'", "pip lume-client[cli]"),
    ],
)
def test_a_command_can_be_pasted_into_the_shell_that_people_have(
    monkeypatch: pytest.MonkeyPatch, words: list[str], unix: str, windows: str
) -> None:
    for is_posix, wanted in ((True, unix), (False, windows)):
        monkeypatch.setattr(platform, "IS_POSIX", is_posix)
        assert platform.command_line(words) == wanted
