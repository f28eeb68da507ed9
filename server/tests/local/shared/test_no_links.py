"""Paths on which no part is a symbolic link: whatever is put there after the look at them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lume_local._shared import no_links
from lume_local._shared.no_links import Relinked

CALLS: dict[str, Callable[[Path], Any]] = {
    "open": lambda path: os.close(no_links.open(path)),
    "make a file": lambda path: os.close(no_links.open(path, os.O_WRONLY | os.O_CREAT)),
    "stat": no_links.stat,
    "exists": no_links.exists,
    "replace": lambda path: no_links.replace(path, path.parents[2] / "moved"),
    "replace to": lambda path: no_links.replace(new(path.parents[2]), path),
    "link": lambda path: no_links.link(path, path.parents[2] / "second"),
    "link to": lambda path: no_links.link(new(path.parents[2]), path),
    "unlink": no_links.unlink,
    "folder": lambda path: no_links.folder(path.parent).__enter__(),
    "make a folder": lambda path: no_links.folder(path.parent / "new", make=True).__enter__(),
}


def new(folder: Path) -> Path:
    (folder / "new").write_text("x")
    return folder / "new"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/file").write_text("inside")
    (tmp_path / "secret/b").mkdir(parents=True)
    (tmp_path / "secret/b/file").write_text("secret")
    return tmp_path


def files(folder: Path) -> dict[str, str]:
    return {str(one): one.read_text() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("part", ["a", "a/b"])
def test_a_folder_that_became_a_link_is_not_gone_through(place: Path, call: str, part: str) -> None:
    (place / part).rename(place / "was")
    (place / part).symlink_to(place / "secret" / Path(part).relative_to("a"))
    before = files(place / "secret")
    with pytest.raises(Relinked) as raised:
        CALLS[call](place / "a/b/file")
    assert "became a symbolic link after the server had checked the path" in str(raised.value)
    assert str(place / part) in str(raised.value)
    assert files(place / "secret") == before


@pytest.mark.parametrize("call", ["open", "make a file", "stat", "exists"])
def test_a_file_that_became_a_link_is_not_followed(place: Path, call: str) -> None:
    (place / "a/b/file").unlink()
    (place / "a/b/file").symlink_to(place / "secret/b/file")
    with pytest.raises(Relinked, match="it became a symbolic link"):
        CALLS[call](place / "a/b/file")


@pytest.mark.parametrize("call", ["replace", "replace to", "link to", "unlink"])
def test_names_are_changed_and_not_what_they_lead_to(place: Path, call: str) -> None:
    (place / "a/b/file").unlink()
    (place / "a/b/file").symlink_to(place / "secret/b/file")
    if call == "link to":
        with pytest.raises(FileExistsError):
            CALLS[call](place / "a/b/file")
    else:
        CALLS[call](place / "a/b/file")
    assert (place / "secret/b/file").read_text() == "secret"


def test_without_links_they_are_what_os_has(place: Path) -> None:
    path = place / "a/b/file"
    with os.fdopen(no_links.open(path)) as file:
        assert file.read() == "inside"
    assert no_links.stat(path).st_ino == os.stat(path).st_ino
    no_links.link(path, place / "second")
    no_links.replace(path, place / "a/moved")
    assert [no_links.exists(one) for one in (path, place / "a/moved", place / "second/x")] == [
        False,
        True,
        False,
    ]
    no_links.unlink(path)
    no_links.unlink(place / "a/moved")
    with no_links.folder(place / "x/y", make=True) as handle:
        assert os.listdir(handle) == []
    for missing, kind in ((path, FileNotFoundError), (place / "second/x/y", NotADirectoryError)):
        with pytest.raises(kind) as raised:
            no_links.open(missing)
        assert raised.value.filename == str(missing)


def test_a_folder_on_the_way_need_not_be_readable(place: Path) -> None:
    (place / "a").chmod(0o311)
    try:
        os.close(no_links.open(place / "a/b/file"))
    finally:
        (place / "a").chmod(0o755)


def test_no_descriptor_stays_open(place: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/dev/fd"))

    before = opened()
    for call in ("open", "stat", "exists", "make a file"):
        CALLS[call](place / "a/b/file")
    for missing in (place / "x/y", place / "a/x/y/z", place / "a/b/file/x"):
        with pytest.raises(OSError, match=str(missing)):
            no_links.stat(missing)
    assert opened() == before
