"""The list of backups beside the state: those that exist, the newest hundred."""

from pathlib import Path
from shutil import rmtree

from local.wire import Wire

import lume_local
from lume_local._runs.backup_notes import note_backup, noted_backups


def test_only_backups_that_exist_are_listed_and_not_too_many(tmp_path: Path) -> None:
    assert noted_backups(tmp_path) == {}
    for number in range(105):
        folder = tmp_path / f"b{number}"
        folder.mkdir()
        (folder / "backup.json").touch()
        note_backup(tmp_path, folder, f"{number}")
    rmtree(tmp_path / "b104")
    found = noted_backups(tmp_path)
    assert [*found] == [str(tmp_path / f"b{number}") for number in range(5, 104)]
    (tmp_path / "backups.json").write_bytes(b"{")
    assert noted_backups(tmp_path) == {}


async def test_forgetting_lists_the_backups(home: Path, wire: Wire) -> None:
    copy = home / "copy"
    made = lume_local.back_up(home / ".lume", copy)
    answer = await wire.ask("POST", "/v1/forget", json={"match": {"email": "ada@example.com"}})
    assert answer.document["backups"] == {str(copy): made.made_at}
    lume_local.restore(copy, home / "new")
    assert noted_backups(home / "new/state") == {str(copy): made.made_at}
    rmtree(copy)
    answer = await wire.ask("POST", "/v1/forget", json={"match": {"email": "ada@example.com"}})
    assert (answer.document["backups"], answer.document["left"]) == ({}, {})


def test_a_backup_succeeds_even_if_it_can_not_be_noted(home: Path) -> None:
    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home]):
        pass
    (home / ".lume/state/backups.json").mkdir()
    assert lume_local.back_up(home / ".lume", home / "copy").runs == 0
