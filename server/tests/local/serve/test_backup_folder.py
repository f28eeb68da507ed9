"""A data folder is backed up while its server works, and restored elsewhere after the server is gone."""

import errno
import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from hypothesis import given
from hypothesis import strategies as st
from local.flows import PEOPLE_CSV, slow_rows, write_flows
from local.servers import process, serve
from local.wire import Wire
from on_posix import posix_only

import lume_async
import lume_local
from lume_async import DuplicateRunError, LumeError
from lume_async._base.elided import elided
from lume_async.errors import ConfigurationError
from lume_local import Backup, back_up, restore
from lume_local._runs.sql.tables import VERSION
from lume_local._shared import checksums

BAD = "id,Email,Age\n1,ann@example.org,31\n2,no address,40\n"
PARTS = """
flow = "parts"
version = "v1"
[target]
mapped = "{data}/parts/"
[columns.id]
type = "integer"
"""

ONCE = """
flow = "once"
version = "v1"
[columns.id]
type = "integer"
unique = "ever"
"""


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a server that had a run; its backup is in `copy`."""
    home = tmp_path_factory.mktemp("home")
    (home / "people.csv").write_text(PEOPLE_CSV)
    with (
        lume_local.serve_in_thread(write_flows(home / "flows"), home / ".lume", [home]) as server,
        server.client() as client,
    ):
        client.run("people:v1", "people.csv").wait(timeout=30)
    back_up(home / ".lume", home / "copy", outputs=True)
    return home


@pytest.fixture
def copy(pristine: Path, tmp_path: Path) -> Path:
    """This backup, for one test."""
    return Path(shutil.copytree(pristine / "copy", tmp_path / "copy"))


async def test_the_restore_drill(home: Path, tmp_path: Path) -> None:
    """The server is killed after the backup; the new one has another data folder, and a copy without times."""
    copy, new = tmp_path / "copy", tmp_path / "elsewhere/data"
    (home / "flows/parts.v1.toml").write_text(PARTS)
    (home / "slow.csv").write_text(slow_rows())
    (home / "bad.csv").write_text(BAD)
    async with process(home) as (server, wire):
        await wire.ask("PUT", "/v1/uploads/people.csv", data=(home / "people.csv").read_bytes())
        done = {
            "upload": await wire.run("people:v1", "upload://people.csv"),
            "file": await wire.run("people:v1", "people.csv"),
            "bad": await wire.run("people:v1", "bad.csv"),
            "parts": await wire.run("parts:v1", "people.csv"),
        }
        slow = (await wire.submit("slow:v1", "slow.csv")).document["id"]
        await wire.until(slow, "TRANSFORMING")
        waiting = (await wire.submit("parts:v1", "bad.csv")).document["id"]
        backup = await run_sync(lambda: back_up(home / ".lume", copy, outputs=True))
        server.kill()
    counts = (backup.runs, backup.active, backup.waiting, backup.uploads, backup.form)
    assert counts == (6, 1, 1, 1, VERSION)
    shutil.rmtree(home / ".lume")
    for path in copy.rglob("*"):
        if path.is_file():
            os.utime(path, (1e9, 1e9))  # as after `tar` or `cp -r`
    assert restore(copy, new) == backup
    async with lume_local.serve(home / "flows", new, [home], max_active=1) as after:
        wire = Wire(after.base_url, after.api_key)
        async with wire.session:
            assert (await wire.get(slow)).document["status"] == "CRASHED"
            assert (await wire.until(waiting))["status"] == "SUCCEEDED"
            listed = (await wire.ask("GET", "/v1/runs")).document["items"]
            assert {run["id"] for run in listed} == {slow, waiting, *(run["id"] for run in done.values())}
        async with after.client() as client:
            await the_new_server_goes_on(client, home, new, done)


async def the_new_server_goes_on(
    client: lume_async.Client, home: Path, new: Path, done: dict[str, dict[str, Any]]
) -> None:
    for flow, source in (("people:v1", "people.csv"), ("people:v1", "upload://people.csv")):
        with pytest.raises(DuplicateRunError):
            await client.run(flow, source)
    runs = {name: await client.run_status(run["id"]) for name, run in done.items()}
    places = {name: run.metadata.target_locations for name, run in runs.items()}
    for name, run in done.items():
        for part, before in run["metadata"]["target_locations"].items():
            moved = getattr(places[name], part)
            assert moved == (before and before.replace(str(home / ".lume"), str(new))), name
            assert moved is None or Path(moved).is_file()
    assert [row["email"] async for row in runs["upload"].mapped()] == [
        *("ann@example.org", "bob@example.org", "cy@example.org")
    ]
    await runs["upload"].download("mapped", home / "downloaded")
    assert (home / "downloaded").read_bytes() == Path(places["upload"].mapped or "").read_bytes()
    manifest = json.loads(Path(places["parts"].mapped or "").read_text())
    assert all((new / "parts" / part["file"]).is_file() for part in manifest["parts"])
    assert [row["Email"] async for row in runs["bad"].rejects()] == ["no address"]
    corrected = await runs["bad"].download("rejects", home / "corrected.csv")
    corrected.write_text(corrected.read_text().replace("no address", "b@example.org"))
    mended = await (await runs["bad"].resubmit(corrected)).wait(timeout=30)
    assert (mended.status, mended.metadata.metrics.rows_read) == ("SUCCEEDED", 1)
    (home / "fresh.csv").write_text("id,Email,Age\n7,g@example.org,1\n")
    assert (await (await client.run("people:v1", "fresh.csv")).wait(timeout=30)).status == "SUCCEEDED"


async def test_without_outputs_they_are_gone_and_the_rest_works(home: Path, tmp_path: Path) -> None:
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
    assert back_up(home / ".lume", tmp_path / "copy").outputs is None
    restore(tmp_path / "copy", tmp_path / "new")
    async with (
        lume_local.serve(home / "flows", tmp_path / "new", [home]) as server,
        server.client() as client,
    ):
        with pytest.raises(LumeError) as gone:
            [row async for row in (await client.run_status(run["id"])).mapped()]
        assert getattr(gone.value, "status_code", None) == 410
        with pytest.raises(DuplicateRunError):
            await client.run("people:v1", "people.csv")


async def test_values_that_are_unique_for_ever_are_known_in_the_new_place(home: Path, tmp_path: Path) -> None:
    (home / "flows/once.v1.toml").write_text(ONCE)
    (home / "more.csv").write_text("id\n3\n4\n")
    async with serve(home) as wire:
        await wire.ask("PUT", "/v1/uploads/people.csv", data=(home / "people.csv").read_bytes())
        await wire.run("once:v1", "upload://people.csv")
    back_up(home / ".lume", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new")
    async with (
        lume_local.serve(home / "flows", tmp_path / "new", [home], max_active=1) as server,
        server.client() as client,
    ):
        other = await (await client.run("once:v1", "more.csv")).wait(timeout=30)
        assert other.metadata.metrics.reject_reasons == {"id: repeats the value of an earlier run": 1}
        again = await (await client.run("once:v1", "upload://people.csv", force_rerun=True)).wait(timeout=30)
        assert again.status == "SUCCEEDED", "a source does not repeat its own values"


def test_a_backup_has_no_key_and_is_for_its_owner_only(pristine: Path, tmp_path: Path) -> None:
    home, copy = pristine, tmp_path / "copy"
    (home / ".lume/state/server.json").write_text("{}")
    made = back_up(home / ".lume", copy, outputs=True)
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()) == [
        *("SHA256SUMS", "backup.json"),
        *sorted(
            f"outputs/{path.relative_to(home / '.lume')}" for path in (home / ".lume/out").rglob("*.parquet")
        ),
        "state/runs.sqlite",
    ]
    assert copy.stat().st_mode & 0o777 == 0o700
    assert Backup(**json.loads((copy / "backup.json").read_text())) == made
    assert (made.runs, made.outputs, made.data) == (1, 1, os.path.realpath(home / ".lume"))
    (output,) = (copy / "outputs").rglob("*.parquet")
    assert (made.files, made.bytes) == (
        2,
        sum(path.stat().st_size for path in (copy / "state/runs.sqlite", output)),
    )


async def test_an_output_that_another_run_has_replaced_is_not_taken_for_the_earlier_one(
    home: Path, tmp_path: Path
) -> None:
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
    Path(run["metadata"]["target_locations"]["mapped"]).write_bytes(b"of somebody else")
    assert back_up(home / ".lume", tmp_path / "copy", outputs=True).outputs == 0
    assert not (tmp_path / "copy/outputs").exists()


async def test_a_link_among_the_outputs_is_not_followed(home: Path, tmp_path: Path) -> None:
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
    output = Path(run["metadata"]["target_locations"]["mapped"])
    output.unlink()
    output.symlink_to(home / "people.csv")
    with pytest.raises(ConfigurationError, match="symbolic link"):
        back_up(home / ".lume", tmp_path / "copy", outputs=True)
    assert not (tmp_path / "copy").exists()


async def test_each_file_that_was_altered_or_lost_is_named_and_nothing_is_restored(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Also if its size is the same, and if its name is unusual. Other tools find the same."""
    copy, name = tmp_path / "copy", "uploads/odd\\ \udcff\nname.csv"
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
        for upload in ("people.csv", "same.csv", "gone.csv", "backup.json"):
            await wire.ask("PUT", f"/v1/uploads/{upload}", data=b"id,Email,Age\n")
    (home / ".lume" / name).write_bytes(b"by another program")
    made = back_up(home / ".lume", copy, outputs=True)
    assert (made.uploads, made.outputs, made.files) == (5, 1, 7)
    assert sha256sum(copy) == []
    output = "outputs/" + os.path.relpath(run["metadata"]["target_locations"]["mapped"], home / ".lume")
    for harmed in ("uploads/same.csv", name, output):
        content = bytearray((copy / harmed).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / harmed).write_bytes(content)
    (copy / "uploads/gone.csv").unlink()
    with pytest.raises(
        ConfigurationError, match=r"(?s)is not as it was made: .*, and 1 more\. Use another backup"
    ):
        restore(copy, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    said = sorted(record.getMessage() for record in caplog.records)
    assert said == sorted(
        [
            *(f"the backup {copy}: {one} was altered" for one in (output, "uploads/same.csv", elided(name))),
            f"the backup {copy}: uploads/gone.csv is missing",
        ]
    )
    assert len(sha256sum(copy)) == 4
    (copy / "uploads/gone.csv").write_bytes(b"id,Email,Age\n")
    for harmed in ("uploads/same.csv", name, output):
        content = bytearray((copy / harmed).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / harmed).write_bytes(content)
    restore(copy, tmp_path / "new")
    assert (tmp_path / "new" / name).read_bytes() == b"by another program"


def sha256sum(copy: Path) -> list[str]:
    """What GNU coreutils say of a backup."""
    command = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    done = subprocess.run(command, cwd=copy, capture_output=True, check=False)
    assert (done.returncode == 0) is not done.stdout
    return done.stdout.decode("utf-8", "replace").splitlines()


@posix_only
@pytest.mark.parametrize("line", [b"abc  x", b"0" * 64 + b"  /etc/passwd", b"0" * 64 + b"  uploads/../../x"])
def test_checksums_that_are_none(copy: Path, tmp_path: Path, line: bytes) -> None:
    sums = copy / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes() + line + b"\n")
    with pytest.raises(ConfigurationError, match="is not a backup of lume: SHA256SUMS is damaged"):
        restore(copy, tmp_path / "new")


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1).filter(
            lambda name: name != ".."
        ),
        st.binary(min_size=32, max_size=32).map(bytes.hex),
        min_size=1,
    )
)
def test_checksums_are_read_as_they_were_written(digests: dict[str, str]) -> None:
    assert checksums.read(checksums.written(digests)) == digests


def in_state(statement: str) -> Callable[[Path], None]:
    def change(copy: Path) -> None:
        with closing(sqlite3.connect(copy / "state/runs.sqlite")) as db, db:
            db.execute(statement)
        summed_again(copy)

    return change


def damaged(copy: Path) -> None:
    state = copy / "state/runs.sqlite"
    content = bytearray(state.read_bytes())
    content[4096:12288] = bytes(8192)
    state.write_bytes(content)


def damaged_before(copy: Path) -> None:
    """A state that was damaged when it was backed up."""
    damaged(copy)
    summed_again(copy)


def summed_again(copy: Path) -> None:
    sums = copy / "SHA256SUMS"
    names = checksums.read(sums.read_bytes())
    sums.write_bytes(checksums.written({name: checksums.digest_of(copy / name) for name in names}))


def of_a_later_release(copy: Path) -> None:
    about = json.loads((copy / "backup.json").read_text()) | {"form": 99, "release": "9.8.7"}
    (copy / "backup.json").write_text(json.dumps(about))
    (copy / "SHA256SUMS").unlink()  # as it may not have one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (damaged, r"not as it was made: state/runs\.sqlite was altered\. Use another"),
        (damaged_before, "its state is damaged"),
        (lambda copy: (copy / "state/runs.sqlite").unlink(), r"state/runs\.sqlite is missing"),
        (
            in_state("PRAGMA user_version = 99"),
            f"in form 99 of the state; this is .* uses form {VERSION}: use",
        ),
        (
            of_a_later_release,
            f"of lume-client 9.8.7, in form 99 .* this is .* uses form {VERSION}: restore it with",
        ),
        (lambda copy: (copy / "backup.json").unlink(), "not a backup of lume: backup.json can't be read"),
        (
            lambda copy: (copy / "backup.json").write_text("{}"),
            "not a backup of lume: backup.json is damaged",
        ),
        (lambda copy: (copy / "SHA256SUMS").unlink(), "not a backup of lume: SHA256SUMS can't be read"),
        (
            lambda copy: (copy / "SHA256SUMS").write_bytes((copy / "SHA256SUMS").read_bytes()[:-1]),
            "SHA256SUMS is damaged",
        ),
        (
            lambda copy: (copy / "backup.json").write_text(
                (copy / "backup.json").read_text().replace('"data": "', '"data": "/other')
            ),
            r"not as it was made: backup\.json was altered",
        ),
        (lambda copy: shutil.rmtree(copy / "outputs"), "outputs/.* is missing"),
    ],
)
def test_a_bad_backup_is_refused_and_leaves_nothing(
    copy: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    change(copy)
    before = set(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match=message):
        restore(copy, tmp_path / "new")
    assert set(tmp_path.iterdir()) == before


def stray(name: str) -> Callable[[Path], None]:
    """A backup with one file more."""

    def change(copy: Path) -> None:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("of somebody else")

    return change


def listed(copy: Path, name: str) -> None:
    """Have the checksums of a backup name one file more."""
    sums, about = copy / "SHA256SUMS", json.loads((copy / "backup.json").read_text())
    names = checksums.read(sums.read_bytes()) | {name: hashlib.sha256(b"of somebody else").hexdigest()}
    (copy / "backup.json").write_text(json.dumps(about | {"files": len(names) - 1}))
    names["backup.json"] = checksums.digest_of(copy / "backup.json")
    sums.write_bytes(checksums.written(names))


def replaced(name: str, make: Callable[[Path, Path], object]) -> Callable[[Path], None]:
    def change(copy: Path) -> None:
        (copy / name).rename(copy.parent / "moved")
        make(copy / name, copy.parent / "moved")

    return change


FOREIGN = """
state/server.json state/lock state/runs.sqlite-wal state/values/a/b.sqlite state/values/x.py state keys.toml
uploads/.draft flows/people.v1.toml uploads outputs uploads/a\0b
outputs/state/server.json outputs/State/server.json outputs/uploads/a.csv outputs/.runs/owner
outputs//state/server.json outputs/./state/server.json ./state/server.json state/./server.json
"""


@pytest.mark.parametrize("name", FOREIGN.split())
def test_a_name_that_no_backup_has_is_refused(copy: Path, tmp_path: Path, name: str) -> None:
    """Also if its checksum is right: somebody may have made a backup in order to have it restored."""
    listed(copy, name)
    if "\0" not in name and not (copy / name).is_dir():
        stray(name)(copy)
    before = set(tmp_path.iterdir())
    with pytest.raises(
        ConfigurationError,
        match=rf"can't be restored to .*{re.escape(elided(name))} is not a file of a backup",
    ):
        restore(copy, tmp_path / "new/data")
    assert set(tmp_path.iterdir()) == before


@posix_only
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (stray("uploads/new.csv"), r"uploads/new\.csv was added"),
        (stray("state/server.json"), r"state/server\.json was added"),
        (stray("a folder/file"), "a folder/file was added"),
        (lambda copy: os.mkfifo(copy / "uploads"), "uploads is neither a file nor a folder"),
        (lambda copy: (copy / "uploads").symlink_to("/etc"), "uploads is neither a file nor a folder"),
        (lambda copy: (copy / "state/none").symlink_to("nowhere"), "state/none is neither"),
        (replaced("state/runs.sqlite", Path.symlink_to), r"state/runs\.sqlite is neither"),
        (replaced("state/runs.sqlite", lambda to, _: os.mkfifo(to)), r"state/runs\.sqlite is neither"),
        (replaced("state", Path.symlink_to), "state is neither"),
        (replaced("backup.json", lambda to, _: os.mkfifo(to)), "backup.json can't be read: it is not a file"),
        (replaced("SHA256SUMS", Path.symlink_to), "SHA256SUMS can't be read: it is not a file"),
    ],
)
def test_what_is_in_a_backup_beside_its_files_is_refused(
    copy: Path, tmp_path: Path, change: Callable[[Path], None], words: str
) -> None:
    change(copy)
    before = set(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match=words):
        restore(copy, tmp_path / "new/data")
    assert set(tmp_path.iterdir()) == before


@posix_only
async def test_files_are_restored_without_special_rights(home: Path, tmp_path: Path) -> None:
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
        await wire.ask("PUT", "/v1/uploads/people.csv", data=b"id,Email,Age\n")
    output = Path(run["metadata"]["target_locations"]["mapped"])
    output.chmod(0o4755)
    back_up(home / ".lume", tmp_path / "copy", outputs=True)
    copied = tmp_path / "copy/outputs" / output.relative_to(home / ".lume")
    assert stat.S_IMODE(copied.stat().st_mode) == 0o755
    copied.chmod(0o6755)
    (tmp_path / "copy/uploads/people.csv").chmod(0o7640)
    restore(tmp_path / "copy", tmp_path / "new")
    restored = tmp_path / "new" / output.relative_to(home / ".lume")
    assert stat.S_IMODE(restored.stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "new/uploads/people.csv").stat().st_mode) == 0o640


def test_a_restore_leaves_the_backup_as_it_is(copy: Path, tmp_path: Path) -> None:
    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    before = content()
    (tmp_path / "new").mkdir()  # an empty folder will do
    restore(copy, tmp_path / "new")
    assert content() == before


def test_folders_that_will_not_do(pristine: Path, copy: Path, tmp_path: Path) -> None:
    home = pristine
    for to, message in ((copy, "exists"), (home / ".lume/copy", "is in the data folder")):
        with pytest.raises(ConfigurationError, match=message):
            back_up(home / ".lume", to)
    with pytest.raises(ConfigurationError, match="not the data folder of a server"):
        back_up(tmp_path, tmp_path / "other")
    with pytest.raises(ConfigurationError, match="is not empty"):
        restore(copy, home / ".lume")
    with pytest.raises(ConfigurationError, match=r"is in the backup .*: name a folder elsewhere"):
        restore(copy, copy / "new")
    with pytest.raises(ConfigurationError, match="is a mount point"):
        restore(copy, "/proc")


def test_an_empty_path_is_not_the_current_folder(
    pristine: Path, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = pristine
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    for call, name in (
        (lambda: back_up("", tmp_path / "other"), "data"),
        (lambda: back_up(home / ".lume", ""), "to"),
        (lambda: back_up(home / ".lume", tmp_path / "other", state=""), "state"),
        (lambda: restore("", tmp_path / "other"), "backup"),
        (lambda: restore(copy, ""), "data"),
    ):
        with pytest.raises(ConfigurationError, match=f"^{name} does not name a file or folder"):
            call()
    assert os.listdir() == []


def test_a_full_disk_leaves_nothing(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fchmod", full)
    before = set(tmp_path.iterdir())
    with pytest.raises(ConfigurationError, match=r"can't be restored to .*: the disk is full"):
        restore(copy, tmp_path / "new")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_restore_says_what_becomes_of_files_that_arrived(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, arrives: bool
) -> None:
    (home / "in").mkdir()
    lines = 'name = "acme"\nflow = "people"\nfrom = "in/*.csv"\nready = { quiet = "0s" }'
    (home / "arrivals.toml").write_text(f"[[arrival]]\n{lines}\n")
    arrivals = home / "arrivals.toml"
    async with lume_local.serve(home / "flows", home / ".lume", [home], arrivals=arrivals) as server:
        wire = Wire(server.base_url, server.api_key)
        async with wire.session:
            if arrives:
                (home / "in/a.csv").write_text(PEOPLE_CSV)
                while not (await wire.ask("GET", "/v1/runs")).document["items"]:
                    await anyio.sleep(0.02)
    backup = back_up(home / ".lume", tmp_path / "copy")
    restore(tmp_path / "copy", tmp_path / "new")
    said = f"files that arrived after {backup.made_at} and were moved since"
    assert (said in caplog.text) is arrives


async def test_files_that_no_run_has_written_are_named_and_left_out(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(home) as wire:
        run = await wire.run("people:v1", "people.csv")
    back_up(home / ".lume", tmp_path / "first", outputs=True)
    assert "not in the backup" not in caplog.text
    output = Path(run["metadata"]["target_locations"]["mapped"])
    output.write_bytes(b"by another program")
    mine = home / ".lume/mine"
    mine.mkdir()
    for number in range(4):
        (mine / f"{number}.csv").touch()
    back_up(home / ".lume", tmp_path / "second", outputs=True)
    (said,) = [one.getMessage() for one in caplog.records if "not in the backup" in one.getMessage()]
    assert "5 files" in said
    assert "mine/0.csv, mine/1.csv, mine/2.csv, …" in said
    assert not (tmp_path / "second/outputs").exists()


@posix_only
def test_the_state_is_private_in_a_folder_that_is_not(pristine: Path, tmp_path: Path) -> None:
    """Also one that was made before: its log and its copy show the same."""
    data = tmp_path / "data"
    (data / "state").mkdir(parents=True, mode=0o755)
    modes = dict[str, int]()
    for _ in range(2):
        for file in (data / "state").glob("runs.sqlite*"):
            file.chmod(0o644)
        with (
            lume_local.serve_in_thread(pristine / "flows", data, [pristine]) as server,
            server.client() as client,
        ):
            client.run("people:v1", "people.csv", force_rerun=True).wait(timeout=30)
            modes = {
                one.name: stat.S_IMODE(one.stat().st_mode) for one in (data / "state").glob("runs.sqlite*")
            }
            assert modes.keys() >= {"runs.sqlite", "runs.sqlite-wal", "runs.sqlite-shm"}
            assert set(modes.values()) == {0o600}
