"""What ended runs have left: whatever is wrong with it, the server starts, works, and says what is in the way."""

import errno
import json
from pathlib import Path

import anyio
import pytest
from local.servers import serve
from local.wire import Wire

from lume_local._runs.recovery import late
from lume_local._runs.sources import run_paths


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late, "UNDO_FIRST", 0.02)
    monkeypatch.setattr(late, "UNDO_LONGEST", 0.02)


WAITS = ["undoing what ended runs have begun: 1 run waits"]


async def until_waiting(wire: Wire, *what: str) -> None:
    """Until `GET /healthz`, which is well all the same, says that this waits, and no more."""
    with anyio.fail_after(20):
        while (answer := await wire.ask("GET", "/healthz")).document.get("waiting", []) != [*what]:
            await anyio.sleep(0.02)
        assert answer.status == 200


def draft_begun(folder: Path, draft: Path) -> None:
    folder.mkdir(parents=True)
    draft.write_text("")
    (folder / "begun.json").write_text(json.dumps([{"kind": "file", "draft": str(draft)}]))


@pytest.mark.parametrize("where", ["runs", "begun"])
async def test_a_file_that_is_no_runs_is_left_alone(home: Path, where: str) -> None:
    state = home / ".lume/state"
    (state / where).mkdir()
    (state / where / ".DS_Store").write_text("x")
    draft_begun(state / "begun/run_1", home / "draft")
    async with serve(home) as wire:
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
        with anyio.fail_after(20):
            while (home / "draft").exists() or (state / "begun/run_1").exists():
                await anyio.sleep(0.02)
        await until_waiting(wire)
    assert (state / where / ".DS_Store").read_text() == "x"


@pytest.mark.parametrize("where", ["runs", "begun"])
@pytest.mark.parametrize("content", ["[1]", "{"])
async def test_a_note_that_cannot_be_read_holds_up_nobody(
    home: Path, caplog: pytest.LogCaptureFixture, where: str, content: str
) -> None:
    state = home / ".lume/state"
    broken = state / where / "run_0"
    broken.mkdir(parents=True)
    (broken / "begun.json").write_text(content)
    draft_begun(state / "begun/run_1", home / "draft")
    async with serve(home) as wire:
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
        await until_waiting(wire, *WAITS)
        (note,) = state.glob("*/run_0/begun.json")  # JSON may be kept for later, as that of ended runs is
        assert str(note.parent) in caplog.text
        assert not (home / "draft").exists()
        note.unlink()
        await until_waiting(wire)
    assert not broken.exists()


async def test_where_the_note_has_no_room_the_run_ends_as_it_would_and_the_note_comes_later(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_full, hand_over = True, run_paths.hand_over

    def on_a_full_disk(folder: Path, to: Path) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        hand_over(folder, to)

    monkeypatch.setattr(run_paths, "hand_over", on_a_full_disk)
    (home / "bad.csv").write_text("id,Email,Age\nx,y,z\n")
    async with serve(home) as wire:
        run = await wire.run("people:v1", "bad.csv")
        assert run["status"] == "FAILED"
        assert "the only row was rejected" in run["metadata"]["error_message"]
        folder = home / ".lume/state/runs" / run["id"]
        await until_waiting(wire, *WAITS)
        assert f"{folder} can't be removed: the disk is full" in caplog.text
        is_full = False
        await until_waiting(wire)
        assert not folder.exists()
