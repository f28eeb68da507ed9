"""A flow file that changes under a running server: runs say so, and a development server goes along."""

from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE
from local.servers import serve
from local.wire import Wire

from lume_async import ConfigurationError

STRICTER = PEOPLE.replace("150", "40")


@pytest.fixture
def file(home: Path) -> Path:
    return home / "flows/people.v1.toml"


async def ended(wire: Wire, **more: Any) -> tuple[int, list[str]]:
    """The rejected rows and the notes of a new run."""
    run = await wire.run("people:v1", "people.csv", **more)
    metadata = run["metadata"]
    return metadata["metrics"]["rows_rejected"], metadata.get("notes", [])


async def test_a_run_says_that_the_file_of_its_version_has_changed(home: Path, file: Path) -> None:
    async with serve(home) as wire:
        assert await ended(wire) == (0, [])
        file.write_text(STRICTER)
        rejected, (note,) = await ended(wire, force_rerun=True)
        assert rejected == 0
        assert note.startswith(f"{file} has changed, but people:v1 stays as it was")
        for way in ("Increase its version", "lume flow try", "--dev"):
            assert way in note
        file.write_text(PEOPLE + "# only a comment\n")
        assert (await ended(wire, force_rerun=True))[1] == []
        file.write_text("in the middle of an edit")
        assert (await ended(wire, force_rerun=True))[1] == []


async def test_the_log_says_once_that_a_file_has_changed_which_came_after_the_start(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve(home) as wire:
        file = home / "flows/late.v1.toml"
        file.write_text(PEOPLE.replace('"people"', '"late"'))
        await wire.run("late:v1", "people.csv")
        assert "has changed" not in caplog.text
        for text in (STRICTER, STRICTER.replace("40", "30")):
            file.write_text(text.replace('"people"', '"late"'))
            for _ in range(2):
                await wire.run("late:v1", "people.csv", force_rerun=True)
    told = [record.getMessage() for record in caplog.records if "has changed" in record.getMessage()]
    assert [text.startswith(f"{file} has changed, but late:v1 stays as it was") for text in told] == [
        True,
        True,
    ]


async def test_on_a_development_server_a_version_changes_and_runs_say_so(
    home: Path, file: Path, caplog
) -> None:
    async with serve(home, dev=True) as wire:
        rejected, (first,) = await ended(wire)
        assert rejected == 0
        file.write_text(STRICTER)
        rejected, (second,) = await ended(wire)  # the same source again: to a changed version it is new
        assert rejected == 1
        assert first != second
        assert second.startswith(
            "from a development server, where a version may change: people:v1 had the content "
        )
        stored = (await wire.ask("GET", "/v1/flows/people/versions/v1")).document
        assert second.endswith(stored["content_hash"][:8])
    assert "runs used the old content" in caplog.text


async def test_a_mistake_in_the_changed_file_is_told_on_a_development_server(home: Path, file: Path) -> None:
    async with serve(home, dev=True) as wire:
        file.write_text(PEOPLE.replace("minimum", "minimun"))
        answer = await wire.submit("people:v1", "people.csv")
        assert (answer.status, answer.kind) == (404, "flow-version-not-found")
        assert "did you mean 'minimum'?" in answer.document["detail"]
        file.write_text(PEOPLE.replace("'\"Age\"'", "'\"Age\" +'"))
        assert "columns.age.sql" in (await wire.submit("people:v1", "people.csv")).document["detail"]
        file.write_text(PEOPLE)
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"


async def test_a_version_that_has_run_is_only_replaced_by_a_development_server(
    home: Path, file: Path
) -> None:
    async with serve(home) as wire:
        await ended(wire)
    file.write_text(STRICTER)
    with pytest.raises(ConfigurationError, match="a version never changes"):
        async with serve(home):
            pass
    async with serve(home, dev=True) as wire:
        assert (await ended(wire))[0] == 1
