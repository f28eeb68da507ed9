"""Random files, cut into shards of a few records: a run gives the same as one worker, to the byte."""

import random
from pathlib import Path

import pytest
from local.random_files import csv_case, ndjson_case
from local.shards.twice import Here, compared

from lume_local._shards import coordinator

ENGINE = {"url": "here", "shard_bytes": 1, "shards": 4}


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "executor_of", lambda url: Here())


@pytest.mark.parametrize("seed", range(70))
def test_csv(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = csv_case(rng, rng.randrange(5, 40))
    compared(tmp_path, [("a.csv", case.content)], ENGINE, **case.flow)


@pytest.mark.parametrize("seed", range(30))
def test_ndjson(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = ndjson_case(rng, rng.randrange(5, 40))
    compared(tmp_path, [("a.ndjson", case.content)], ENGINE, rejects=".ndjson", **case.flow)
