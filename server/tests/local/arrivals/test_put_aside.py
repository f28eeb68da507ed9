"""A file is moved as it was loaded, or stays where it is, and why is told."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from local.arrivals.test_states import settled, site_on
from on_posix import posix_only

from lume_local._arrivals.local_place import is_open_for_writing
from lume_local._shared import no_links

pytestmark = posix_only
MOVED = {"after": '{ move = "done/" }', "changed": '"rerun"'}


async def test_a_target_that_is_a_link_is_trouble(tmp_path: Path) -> None:
    """It is not followed, and the file is not forgotten."""
    (tmp_path / "archive").mkdir()
    async with site_on(tmp_path, **MOVED) as site:
        (tmp_path / "in/done").symlink_to(tmp_path / "archive")
        (tmp_path / "in/a.csv").write_text("no\n1\n")
        await settled(site)
        (run,) = await site.runs()
        await site.end(run)
        await site.after(0)
        assert "in/a.csv can't be moved: " in site.watcher.trouble
        assert "in/done became a symbolic link" in site.watcher.trouble
        (tmp_path / "in/done").unlink()
        await site.compare()
        assert (tmp_path / "in/done/a.csv").read_text() == "no\n1\n"
        assert site.watcher.trouble == ""


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each step: the file is in one of the two places, and the move is finished later."""
    calls = 0

    def full(name: str, at: int) -> None:
        real = getattr(no_links, name)

        def call(*values: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*values)

        monkeypatch.setattr(no_links, name, call)

    async with site_on(tmp_path, **MOVED) as site:
        for number, at in enumerate((1, 2, 4, 6), 1):  # moved, named, named after two that are taken, removed
            content = f"no\n{number}\n"
            (tmp_path / "in/a.csv").write_text(content)
            await settled(site)
            calls = 0
            for name in ("replace", "link", "unlink"):
                full(name, at)
            await site.end((await site.runs())[-1])
            await site.after(0)
            monkeypatch.undo()
            assert "No space left" in site.watcher.trouble
            assert content in [path.read_text() for path in (tmp_path / "in").rglob("*") if path.is_file()]
            await site.compare()
            assert site.watcher.trouble == ""
            assert not (tmp_path / "in/a.csv").exists()
            assert sorted(path.read_text() for path in (tmp_path / "in/done").iterdir()) == [
                f"no\n{n}\n" for n in range(1, number + 1)
            ]


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux can tell")
async def test_a_file_that_is_still_being_written_stays(tmp_path: Path) -> None:
    """Its writer paused for longer than `quiet`, and would write to the moved file: its rows would be lost."""
    async with site_on(tmp_path, **MOVED) as site:
        with (tmp_path / "in/a.csv").open("w") as writer:
            writer.write("no\n1\n")
            writer.flush()
            await settled(site)
            (first,) = await site.runs()
            await site.end(first)
            await site.after(0)
            assert "can't be moved yet: a program has it open for writing" in site.watcher.trouble
            writer.write("2\n")
        await settled(site)
        assert site.watcher.trouble == ""
        _, second = await site.runs()
        await site.end(second)
        await site.after(0)
        assert (tmp_path / "in/done/a.csv").read_text() == "no\n1\n2\n"


@pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="only Linux can tell")
async def test_who_asks_for_a_lease_is_not_ended_by_its_signal(tmp_path: Path) -> None:
    """It is sent to the holder of a lease when somebody opens the file for writing."""
    path = tmp_path / "a.csv"
    path.touch()

    def write() -> None:
        for _ in range(2000):
            path.open("a").close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, write)
        for _ in range(200):
            await anyio.to_thread.run_sync(is_open_for_writing, path)
    assert not is_open_for_writing(path)
