"""Servers that serialize with pydantic send every optional member, as null: to the client it is absent."""

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from lume_async.models import RunMetadata
from lume_async.testing import FakeAnswer, fake_client
from lume_async.webhooks import parse

GOLDEN = json.loads((Path(__file__).parents[1] / "contract" / "run_partial_failed.json").read_text())
REQUIRED = {"id", "status", "name"}


def members(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where the optional members of a run are; what is inside the caller's own data is not ours."""
    named = path[-1:] in (("columns",), ("seeds",))  # by names that are no members
    found = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in found:
        if isinstance(value, dict) and key not in REQUIRED and not named:
            yield *path, key
        if key not in ("run_metadata", "reject_reasons", "warnings"):
            yield from members(below, *path, key)


def without(path: tuple[str | int, ...], *, null: bool) -> dict[str, Any]:
    run: Any = deepcopy(GOLDEN)
    parent = run
    for key in path[:-1]:
        parent = parent[key]
    if null:
        parent[path[-1]] = None
    else:
        del parent[path[-1]]
    return run  # type: ignore[no-any-return]


def views(run: dict[str, Any]) -> list[Any]:
    metadata = RunMetadata(run["metadata"] or {})
    return [
        metadata.run,
        metadata.stages,
        metadata.metrics,
        metadata.target_locations,
        metadata.error_message,
    ]


IN_METADATA = [path for path in members(GOLDEN) if path[0] == "metadata" and len(path) > 1]


@pytest.mark.parametrize("path", IN_METADATA, ids=lambda path: ".".join(map(str, path)))
def test_a_null_in_the_metadata_reads_as_an_absent_member(path: tuple[str | int, ...]) -> None:
    assert views(without(path, null=True)) == views(without(path, null=False))


@pytest.mark.parametrize("path", list(members(GOLDEN)), ids=lambda path: ".".join(map(str, path)))
async def test_a_null_does_not_end_a_wait(path: tuple[str | int, ...]) -> None:
    client, _ = fake_client([FakeAnswer(200, without(path, null=True))])
    async with client:
        run = await client.attach(GOLDEN["id"]).wait()

        assert run.status == "PARTIAL_FAILED"
        assert run.run_metadata in (GOLDEN["run_metadata"], None)
        assert run.mapped_location in (GOLDEN["metadata"]["target_locations"]["mapped"], None)


def test_a_webhook_with_nulls_is_an_event() -> None:
    event = parse(
        b'{"event": "run.finished", "run_id": "run_1", "status": "FAILED", "flow_version": null, "finished_at": null}'
    )

    assert event.flow_version is None
    assert event.finished_at is None
