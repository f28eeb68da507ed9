"""A server whose state is apart from the folder that a cluster shares."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync
from local.flows import slow_rows
from local.servers import serve

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._runs.sources import work
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._shared import folders


@pytest.fixture
def places(home: Path) -> dict[str, Any]:
    """The options for a state of its own, with what the tests' flows were compiled to."""
    (home / ".lume/state").rename(home / "state")
    (home / ".lume").rmdir()
    return {"state": home / "state", "work": home / "shared"}


async def test_what_is_shared_and_what_is_not(home: Path, places: dict[str, Any]) -> None:
    (home / "slow.csv").write_text(slow_rows())
    async with serve(home, **places) as wire:
        await wire.ask("PUT", "/v1/uploads/p.csv", data=(home / "people.csv").read_bytes())
        run = await wire.run("people:v1", "upload://p.csv")
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(slow, "TRANSFORMING")
        assert (home / "shared/.runs" / slow).is_dir()
        refused = await wire.submit("people:v1", str(home / f"shared/.runs/{slow}/a.csv"))
        assert (refused.status, refused.kind) == (422, "source-not-allowed")
        await wire.ask("POST", f"/v1/runs/{slow}/cancel")
        await wire.until(slow)
        mapped = Path(run["metadata"]["target_locations"]["mapped"])
        assert mapped.is_relative_to(home / "shared")
        assert mapped.is_file()
    assert not (home / ".lume").exists()
    assert {path.name for path in (home / "shared").iterdir()} >= {".runs", "uploads"}
    assert (home / "state/runs.sqlite").is_file()
    assert not (home / "state/runs").exists()


async def test_a_work_folder_belongs_to_one_state(home: Path, places: dict[str, Any]) -> None:
    async with serve(home, **places) as wire:
        await wire.run("people:v1", "people.csv")
    async with serve(home, state=home / "other", work=home / "elsewhere"):
        pass
    words = (
        r"shared has the runs of another state, in PostgreSQL or another folder: pass its state_env or state"
    )
    with pytest.raises(ConfigurationError, match=words):
        async with serve(home, state=home / "other", work=home / "shared"):
            pass
    async with serve(home, **places) as wire:
        assert (await wire.submit("people:v1", "people.csv")).status == 409


async def test_folders_of_active_runs_are_not_left_behind(home: Path) -> None:
    (home / ".lume/state/runs/run_1").mkdir(parents=True)
    with pytest.raises(
        ConfigurationError, match="state/runs has folders of active runs, which now belong in"
    ):
        async with serve(home, state=home / ".lume/state", work=home / "shared"):
            pass


async def test_a_backup_of_a_state_of_its_own(home: Path, places: dict[str, Any], tmp_path: Path) -> None:
    async with serve(home, **places) as wire:
        run = await wire.run("people:v1", "people.csv")
    with pytest.raises(ConfigurationError, match="is not the state of a server"):
        lume_local.back_up(home / "shared", tmp_path / "none", state=home / "shared")
    with pytest.raises(ConfigurationError, match="belongs elsewhere"):
        lume_local.back_up(home / "shared", home / "state/b", state=home / "state")
    made = await run_sync(
        lambda: lume_local.back_up(home / "shared", tmp_path / "b", outputs=True, state=home / "state")
    )
    assert (made.runs, made.outputs) == (1, 1)
    await run_sync(lambda: lume_local.restore(tmp_path / "b", tmp_path / "new"))
    shutil.move(tmp_path / "new/state", tmp_path / "new-state")
    async with serve(home, state=tmp_path / "new-state", work=tmp_path / "new") as wire:
        found = (await wire.get(run["id"])).document
        assert Path(found["metadata"]["target_locations"]["mapped"]).is_relative_to(tmp_path / "new")
        assert len((await wire.ask("GET", f"/v1/runs/{run['id']}/mapped")).document["items"]) == 3


async def test_a_backup_without_its_uploads_is_refused(home: Path, tmp_path: Path) -> None:
    """The state is there, and its uploads and outputs are in another folder than the one that is named."""
    for options in ({"work": home / "shared"}, {"state": home / "one", "work": home / "a"}):
        async with serve(home, **options) as wire:
            await wire.ask("PUT", "/v1/uploads/p.csv", data=(home / "people.csv").read_bytes())
    async with lume_local.serve(None, home / "plain", [home]):
        pass
    own = home / ".lume/state"
    for data, state in (
        *((home / ".lume", None), (home / "a", own), (home / "plain", own)),
        *((home / "nothing", home / "one"), (home / ".lume", home / "one")),
    ):
        with pytest.raises(
            ConfigurationError, match=f"{data} can't be backed up to .*: it is not the data folder"
        ):
            await run_sync(lambda: lume_local.back_up(data, tmp_path / "b", state=state))  # noqa: B023
    assert not (tmp_path / "b").exists()
    assert lume_local.back_up(home / "shared", tmp_path / "b", state=own).uploads == 1


def test_no_path_leads_into_the_folders_of_runs(tmp_path: Path) -> None:
    roots = Roots.of((tmp_path,), tmp_path / "work", state=tmp_path / "state")
    for path in ("work/.runs/run_1/x", "state/runs.sqlite"):
        with pytest.raises(PathRefused, match="the server's own state"):
            roots.source(path)
        with pytest.raises(PathRefused, match="the server's own state"):
            roots.written(str(tmp_path / path))


@pytest.mark.parametrize(
    ("mounted", "kind"),
    [
        ("22 1 0:20 / / rw - ext4 /dev/a rw\n30 22 0:40 / {place} rw - nfs4 host:/a rw", "nfs4"),
        ("22 1 0:20 / / rw - nfs4 host:/ rw\n30 22 0:40 / {place} rw shared:1 - ext4 /dev/b rw", "ext4"),
        ("22 1 0:20 / / rw - fuse.sshfs host: rw", "fuse.sshfs"),
    ],
)
def test_a_state_on_a_network_file_system_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mounted: str, kind: str
) -> None:
    place = tmp_path / "a plåce"
    (tmp_path / "mountinfo").write_text(mounted.format(place=str(place).replace(" ", "\\040")))
    monkeypatch.setattr(folders, "_MOUNTS", tmp_path / "mountinfo")
    assert folders.file_system(place / "state") == kind
    with caplog.at_level(logging.WARNING, "lume_local"):
        work.warn_if_remote(place / "state")
    assert [f"file system ({kind})" in record.getMessage() for record in caplog.records] == [True] * (
        kind != "ext4"
    )


def test_this_machine_has_file_systems(tmp_path: Path) -> None:
    assert folders.file_system(tmp_path)
    assert folders.file_system(Path("/proc/self")) == "proc"
