"""A run of a server with a cluster, beside the same one without."""

from pathlib import Path
from typing import Any

import duckdb
from local.flows import write_flows

import lume_local

ROWS = "id,Email,Age\n" + "".join(f"{n},P{n}@Example.org,{n % 200}\n" for n in range(2000))


def same_as_alone(folder: Path, url: str) -> None:
    """A run over shards and one that is a single task: rows, rejects and counts are those of one worker."""
    write_flows(folder / "flows")
    (folder / "large.csv").write_text(ROWS)
    (folder / "small.csv").write_text(ROWS[:3000])
    alone, spread = _runs(folder), _runs(folder, engine=url, shard_bytes=16_000)

    assert [one["shards"]["count"] for one in spread] == [len(ROWS) // 16_000 + 1, 1]
    for one, other in zip(alone, spread, strict=True):
        assert {**other, "shards": None} == {**one, "shards": None}


def _runs(folder: Path, **options: Any) -> list[dict[str, Any]]:
    with (
        lume_local.serve_in_thread(folder / "flows", folder / ".lume", [folder], **options) as server,
        server.client() as client,
    ):
        runs = [
            client.run("people:v1", name, force_rerun=True).wait(timeout=300)
            for name in ("large.csv", "small.csv")
        ]
        return [_given(run) for run in runs]


def _given(run: Any) -> dict[str, Any]:
    places = run.metadata["target_locations"]
    rows = {part: duckdb.sql(f"FROM '{places[part]}'").fetchall() for part in places if places[part]}
    metrics = dict(run.metadata["metrics"])
    return {"rows": rows, "shards": metrics.pop("shards", None), "metrics": metrics}
