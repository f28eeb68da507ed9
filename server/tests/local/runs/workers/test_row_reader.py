"""The processes that read rows: nothing of what they have copied stays, however they end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from lume_local._runs import row_reader
from lume_local._runs.health import Health
from lume_local._runs.row_reader import RowReader
from lume_local._runs.workers.worker import WorkerDied
from lume_local._shared.protocol import Read, RowsPage, Unreadable


class Dying:
    """A pool whose process is killed while it copies."""

    def __init__(self, most: int, health: Health, **_: object) -> None:
        pass

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield

    async def read(self, job: Read) -> RowsPage | Unreadable:
        copies = Path(job.folder) / "lume-rows-1"
        copies.mkdir(parents=True)
        (copies / "copy.csv").write_text("id\n")
        if job.path == "slow":
            await asyncio.Event().wait()
        raise WorkerDied("reading a page took longer than 60 s")


def job(path: str) -> Read:
    return Read(path, "", {}, "utf-8", {}, "0", row=0, rows=1, limit=1)


async def test_what_a_killed_process_has_copied_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_reader, "WorkerPool", Dying)
    folder = tmp_path / "rows"
    (folder / "of a server that was killed").mkdir(parents=True)
    reader = RowReader(folder, Health(tmp_path))
    async with reader.running():
        assert not folder.exists()
        with pytest.raises(WorkerDied):
            await reader.page(job("s3://bucket/a.csv"))
        assert list(folder.iterdir()) == []
        with pytest.raises(TimeoutError):  # whoever has asked is gone
            await asyncio.wait_for(reader.page(job("slow")), 0.1)
        assert list(folder.iterdir()) == []
