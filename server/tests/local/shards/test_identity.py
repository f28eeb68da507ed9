"""Random files, cut into shards of a few records: a run gives the same as one worker, to the byte."""

import json
import random
from pathlib import Path

import pytest
from depth import seeds
from local.oracles.random_files import Case, csv_case, ndjson_case
from local.shards.twice import compared

ENGINE = {"url": "here", "shard_bytes": 1, "shards": 3}


@seeds(12)
def test_csv(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = csv_case(rng, rng.randrange(5, 40))
    case.flow["source"]["max_line_bytes"] = rng.choice((25, 60, 10**6))
    engine = ENGINE | {"shards": rng.choice((3, 8))}
    compared(tmp_path, [("a.csv", case.content)], engine, **case.flow)


@pytest.mark.thorough
@seeds(6)
def test_ndjson(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = ndjson_case(rng, rng.randrange(5, 40))
    compared(
        tmp_path, [("a.ndjson", case.content)], ENGINE, mapped_as=".ndjson", rejects_as=".ndjson", **case.flow
    )


@pytest.mark.thorough
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_bom_belongs_to_its_line_but_for_that_of_the_file(tmp_path: Path, end: str) -> None:
    """Files that were joined have some within."""
    content = "".join(f'\ufeff{{"a": {n}}}{end}' for n in range(6)).encode()
    flow = {"columns": {"a": {"type": "integer"}}, "source": {"format": "ndjson"}}
    sharded = compared(
        tmp_path, [("a.ndjson", content)], ENGINE | {"shards": 6}, rejects_as=".ndjson", **flow
    )
    assert sharded.shards["count"] == 5
    assert sharded.metrics["reject_reasons"] == {"malformed line: not a JSON object": 5}


BEGINNINGS = ["PK\x03\x04", "%PDF-1.4", "_lume_row,_lume_line,_lume_reasons,a,_lume_raw"]


@pytest.mark.thorough
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_lines_within_a_file_do_not_tell_what_it_is(tmp_path: Path, beginning: str) -> None:
    content = '{"a": 1}\n' * 6 + f"{beginning}\n" * 6
    flow = {"columns": {"a": {"type": "integer"}}, "source": {"format": "ndjson"}}
    engine = ENGINE | {"shards": 8}
    sharded = compared(tmp_path, [("a.ndjson", content.encode())], engine, rejects_as=".ndjson", **flow)
    assert sharded.metrics["rows_mapped"] == sharded.metrics["rows_rejected"] == 6
    assert sharded.shards["count"] > 5


def test_rejects_in_csv_of_lines_are_one_shard(tmp_path: Path) -> None:
    rows = "".join(f"{n},,why,{n},\n" for n in range(50))
    flow = {"columns": {"a": {"type": "integer"}}, "source": {"format": "ndjson"}}
    content = f"_lume_row,_lume_line,_lume_reasons,a,_lume_raw\n{rows}51,,why,x,\n".encode()
    sharded = compared(tmp_path, [("a.csv", content)], ENGINE | {"shards": 8}, rejects_as=".ndjson", **flow)
    assert sharded.metrics["rows_mapped"] == 50
    assert list(sharded.shards["whole"].values()) == ["it holds rejects in CSV"]


@pytest.mark.parametrize("format", ["csv", "ndjson"])
def test_rejects_of_tables_as_objects_are_one_shard(tmp_path: Path, format: str) -> None:
    rows = "".join(
        json.dumps({"_lume_row": n, "_lume_table": True, "a": str(n) if n else "x"}) + "\n" for n in range(50)
    )
    flow = {"columns": {"a": {"type": "integer"}}, "source": {"format": format}}
    sharded = compared(
        tmp_path, [("a", rows.encode())], ENGINE | {"shards": 8}, rejects_as=f".{format}", **flow
    )
    assert sharded.metrics["rows_mapped"] == 49
    assert list(sharded.shards["whole"].values()) == ["it holds rejects as objects"]


@pytest.mark.thorough
@seeds(6)
def test_several_files(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    case = rng.choice((csv_case, ndjson_case))(rng, rng.randrange(5, 40))
    files = [(f"{n}", content) for n, content in enumerate(_in_files(rng, case))]
    sharded = compared(tmp_path, files, ENGINE, mapped_as=".ndjson", **case.flow)
    assert sharded.error or sharded.shards["count"] >= len(files)


def _in_files(rng: random.Random, case: Case) -> list[bytes]:
    """The lines of a file in two, each with the first line, and some of them in a third once more."""
    head, *lines = case.content.splitlines(keepends=True)
    head = b"" if case.flow["source"].get("format") == "ndjson" else head
    at = rng.randrange(len(lines) + 1)
    again = [line for line in lines if rng.random() < 0.2]
    return [head + b"".join(part) for part in (lines[:at], lines[at:], again)]


ROWS = b"a\n" + b"".join(b"%d\n" % n for n in range(40))


def test_only_what_was_unpacked_counts_as_unpacked(tmp_path: Path) -> None:
    """Not what is called so."""
    files = [(f"unpacked-{n}.csv", ROWS) for n in range(3)]
    flow = {"columns": {"a": {"type": "integer"}}, "source": {"max_unpacked_bytes": 200}}
    sharded = compared(tmp_path, files, ENGINE | {"shards": None, "shard_bytes": 10_000}, **flow)
    assert sharded.error == ""
    assert sharded.metrics["rows_mapped"] == 120
