"""Twenty layouts of one version beside twenty versions without layouts: each row, reject and count is the same."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from local.one_run import Result
from local.senders import COLUMNS, LAYOUTS, SENDERS, Row, Sender, run, run_version, zipped
from local.staging import PLACES, stage_in

from lume_local._worker.engine import RunFailed

ROWS: list[Row] = [
    ("1", "2.50", "a"),
    ("2", "x", "groß"),
    ("3", "", ""),
    ("4", "1000.00", "ü"),
    ("y", "5.00", "e"),
]


def rows_of(number: int, count: int = 5) -> list[Row]:
    """Rows whose orders no other sender has."""
    rows = list[Row]()
    for n in range(count):
        order, amount, note = ROWS[n % len(ROWS)]
        rows.append((str(100_000 * number + n) if order.isdigit() else order, amount, note))
    return rows


def files_of(senders: Sequence[Sender], count: int = 5) -> list[tuple[str, bytes]]:
    return [
        (f"{n:02}-{one.name}{one.suffix}", one.file(rows_of(n, count), is_broken=n % 2 == 0))
        for n, one in enumerate(senders, 1)
    ]


def alone(folder: Path, senders: Sequence[Sender], files: Sequence[tuple[str, bytes]]) -> list[Result]:
    return [
        run_version(folder / f"alone{n}", one.single, file)
        for n, (one, file) in enumerate(zip(senders, files, strict=True))
    ]


def kept(row: dict[str, str]) -> dict[str, str]:
    """The values of a reject that a person corrects; columns of several layouts that differ only in case are one."""
    return {name.lower(): value for name, value in row.items() if value and not name.startswith("_lume_")}


def compare(
    together: Result, each: Sequence[Result], senders: Sequence[Sender], shown: Sequence[str]
) -> None:
    assert together.mapped == [row for one in each for row in one.mapped]
    before, malformed = 0, 0
    for sender, name, one in zip(senders, shown, each, strict=True):
        mine = [row for row in together.rejects if row["_lume_file"] == name]
        assert {row["_lume_layout"] for row in mine} <= {sender.name}
        places = [
            (int(row["_lume_row"] or 0) and int(row["_lume_row"]) - before, row["_lume_line"]) for row in mine
        ]
        assert places == [(int(row["_lume_row"] or 0), row["_lume_line"]) for row in one.rejects], name
        assert [row["_lume_reasons"] for row in mine] == one.reasons, name
        if sender.layout.get("source", {}).get("format") not in ("json", "ndjson", "xml"):
            assert [kept(row) for row in mine] == [kept(row) for row in one.rejects]
        if sender.name != "wide":  # bytes of another encoding are not those of the file of a single run
            assert [row["_lume_raw"] for row in mine] == [row["_lume_raw"] for row in one.rejects], name
        counted = together.metrics["source"]["layouts"][sender.name]
        assert counted["files"] == 1
        assert counted["rows_read"] == one.metrics["rows_read"]
        assert counted.get("rows_rejected", 0) == one.metrics["rows_rejected"]
        (entry,) = (entry for entry in together.metrics["source"]["files"] if entry["file"] == name)
        own = {
            key: value
            for key, value in one.metrics["source"].items()
            if key in ("lines", "records", "skipped")
        }
        assert {key: entry[key] for key in own} == own
        before += one.metrics["rows_read"] - sum(1 for row in one.rejects if not row["_lume_row"])
        malformed += sum(1 for row in one.rejects if not row["_lume_row"])
    for key in ("rows_read", "rows_mapped", "rows_rejected"):
        assert together.metrics[key] == sum(one.metrics[key] for one in each)
    reasons: dict[str, int] = {}
    for one in each:
        for reason, count in one.metrics["reject_reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    assert together.metrics["reject_reasons"] == reasons


@pytest.mark.parametrize("sender", SENDERS, ids=lambda one: one.name)
def test_each_is_recognised_alone(tmp_path: Path, sender: Sender) -> None:
    (file,) = files_of([sender])
    found = run(tmp_path / "layouts", LAYOUTS, file)
    (one,) = alone(tmp_path, [sender], [file])
    assert list(found.metrics["source"]["layouts"]) == [sender.name]
    assert (found.mapped, sorted(found.reasons)) == (one.mapped, sorted(one.reasons))
    assert found.metrics["rows_read"] == one.metrics["rows_read"]


def test_all_of_a_pattern(tmp_path: Path) -> None:
    files = files_of(SENDERS)
    compare(
        run(tmp_path / "all", LAYOUTS, *files),
        alone(tmp_path, SENDERS, files),
        SENDERS,
        [name for name, _ in files],
    )


def test_members_of_an_archive(tmp_path: Path) -> None:
    files = files_of(SENDERS)
    together = run(tmp_path / "all", LAYOUTS, ("all.zip", zipped(*files)), source={"members": ["*"]})
    compare(together, alone(tmp_path, SENDERS, files), SENDERS, [f"all.zip/{name}" for name, _ in files])


@pytest.mark.parametrize("place", PLACES)
def test_the_order_is_that_of_the_files_wherever_rows_are_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Also if none is rejected, so that rows are written to the target while they are read."""
    stage_in(monkeypatch, place)
    few = [SENDERS[n] for n in (0, 1, 12, 17)]
    senders = [few[n % 4] for n in range(12)]
    for name, bad in (("good", ""), ("bad", "y")):
        rows = [
            [(str(1000 * n + k), "1.00", "a") for k in range(300)] + [(bad, "1", "")] * bool(bad)
            for n in range(12)
        ]
        files = [(f"{n:02}-{one.name}{one.suffix}", one.file(rows[n])) for n, one in enumerate(senders)]
        together = run(tmp_path / name, LAYOUTS, *files)
        assert [row[0] for row in together.mapped] == [1000 * n + k for n in range(12) for k in range(300)]
        layouts = together.metrics["source"]["layouts"]
        assert {name: one["files"] for name, one in layouts.items()} == dict.fromkeys(
            [one.name for one in few], 3
        )
        assert [row["_lume_file"] for row in together.rejects] == [name for name, _ in files] * bool(bad)


def test_small_runs(tmp_path: Path) -> None:
    files = files_of(SENDERS, 100)
    one, small = (
        run(tmp_path / name, LAYOUTS, *files, mapped=".csv", job={"is_small": name == "small"})
        for name in ("one", "small")
    )
    assert (small.metrics, small.rejects_file) == (one.metrics, one.rejects_file)
    assert (tmp_path / "one" / "mapped.csv").read_bytes() == (tmp_path / "small" / "mapped.csv").read_bytes()


@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.thorough), 4])
def test_over_shards(tmp_path: Path, shards: int) -> None:
    files = files_of(SENDERS, 60)
    about = both_ways(tmp_path, files, shards).metrics["shards"]
    assert about["count"] >= len(files) or shards == 1


def both_ways(
    folder: Path,
    files: Sequence[tuple[str, bytes]],
    shards: int = 4,
    **changes: Any,
) -> Result:
    """Run by one process and over shards; nothing that they give differs."""
    engine: dict[str, Any] = {"url": "here", "shard_bytes": 1, "shards": shards}
    one = run(folder / "one", LAYOUTS, *files, mapped=".csv", **changes)
    sharded = run(folder / "sharded", LAYOUTS, *files, mapped=".csv", job={"engine": engine}, **changes)
    assert sharded.rejects_file == one.rejects_file
    assert (folder / "one" / "mapped.csv").read_bytes() == (folder / "sharded" / "mapped.csv").read_bytes()
    assert {**sharded.metrics, "shards": None} == {**one.metrics, "shards": None}
    return sharded


def test_a_compressed_file_is_recognised_by_its_task(tmp_path: Path) -> None:
    senders = [SENDERS[n] for n in (0, 1, 12, 19)]
    packed = [(f"{name}.gz", gzip.compress(content)) for name, content in files_of(senders, 40)]
    found = both_ways(tmp_path, packed)
    assert list(found.metrics["source"]["layouts"]) == [one.name for one in senders]
    assert found.metrics["shards"]["whole"]["01-plain.csv.gz"] == "its layout is known once it is read"


def test_the_file_of_one_layout_is_cut(tmp_path: Path) -> None:
    found = both_ways(tmp_path, files_of([SENDERS[3]], 500), 9)
    assert found.metrics["shards"]["count"] > 1
    assert found.metrics["source"]["layouts"]["quoted"]["rows_read"] == 500


def test_values_are_unique_in_all_files(tmp_path: Path) -> None:
    senders = [SENDERS[n] for n in (0, 12, 17, 0)]
    files = [(f"{n}{one.suffix}", one.file(rows_of(1))) for n, one in enumerate(senders)]
    unique = {**COLUMNS, "order_id": {**COLUMNS["order_id"], "unique": True}}
    found = both_ways(tmp_path, files, columns=unique)
    assert found.metrics["reject_reasons"]["order_id: repeats the value of an earlier row"] == 9
    counts = {name: one["rows_rejected"] for name, one in found.metrics["source"]["layouts"].items()}
    assert counts == {"plain": 7, "lines": 5, "book": 5}


def test_other_files_without_a_layout_or_with_rejects(tmp_path: Path) -> None:
    files = files_of(SENDERS[:2], 40)
    for n, content in enumerate((b"a,b\n1,2\n", b"_lume_row,_lume_line,_lume_reasons,id\n1,,x,1\n")):
        for name, packed in (("z.csv", content), ("z.csv.gz", gzip.compress(content))):
            messages = set[str]()
            for way in ("one", "shards"):
                engine = {"engine": {"url": "here", "shard_bytes": 1, "shards": 4}} if way == "shards" else {}
                with pytest.raises(RunFailed) as failed:
                    run(tmp_path / f"{n}{name}{way}", LAYOUTS, *files, (name, packed), job=engine)
                messages.add(str(failed.value))
            (message,) = messages
            assert ("has none of the layouts", "holds corrected rejects")[n] in message
