"""Runs over shards in this process: what is split and what isn't, and how they fail."""

import gzip
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from local.shards.twice import Here, compared, run

from lume_local._shards import coordinator
from lume_local._shards.executor import ExecutorLost, Function, Json, Pause
from lume_local._worker.shards.shards import Cut, PieceLook, Plan
from lume_local._worker.sources.source import Single

COLUMNS: dict[str, Any] = {"id": {"type": "integer", "required": True, "unique": True}, "name": {}}
THREE = {"url": "here", "shard_bytes": 1, "shards": 3}
LINES = "".join(f"{n},Ann {n}\n" for n in range(60))
CSV = f"id,name\n{LINES}".encode()


def why(outcome: Any) -> str:
    (words,) = outcome.shards["whole"].values()
    return str(words)


@pytest.mark.parametrize(
    ("content", "count"),
    [
        # Parities that are right again after the second quote: the line with both is a reject, and that is all.
        (CSV.replace(b"Ann 30\n", b'5" x 6"\n'), 3),
        (CSV.replace(b"Ann 30\n", b'"Ann\n\n30"\n'), 3),
        (CSV.replace(b"Ann 30\n", b'"Ann ""30"""\n'), 3),
        (CSV.replace(b"\n", b"\r\n"), 3),
        (CSV.replace(b"\n3", b"\r3"), 3),
    ],
)
def test_it_is_split(tmp_path: Path, content: bytes, count: int) -> None:
    outcome = compared(tmp_path, [("a.csv", content)], THREE, columns=COLUMNS)
    assert (outcome.shards["count"], outcome.shards["whole"]) == (count, {})


QUOTES = ('"', '"Ann', 'An"n', '"An"n')


@pytest.mark.parametrize(("at", "bad"), [*((30, bad) for bad in QUOTES), (0, '"'), (59, '"Ann')])
def test_after_a_stray_quote_the_rest_is_one_shard_if_it_has_to_be(tmp_path: Path, at: int, bad: str) -> None:
    content = CSV.replace(f"Ann {at}\n".encode(), f"{bad}\n".encode())
    outcome = compared(tmp_path, [("a.csv", content)], THREE, columns=COLUMNS)
    assert 1 <= outcome.shards["count"] <= 3


@pytest.mark.thorough
def test_before_a_stray_quote_shards_are_kept(tmp_path: Path) -> None:
    content = CSV.replace(b"Ann 30\n", b'"Ann\n')
    outcome = compared(tmp_path, [("a.csv", content)], {**THREE, "shards": 8}, columns=COLUMNS)
    assert 3 <= outcome.shards["count"] <= 5
    assert why(outcome).startswith("from byte ")


@pytest.mark.thorough
def test_far_from_the_end_of_a_shard_a_stray_quote_matters_to_no_other(tmp_path: Path) -> None:
    rows = [f"{n},Ann {n}" for n in range(800)]
    rows[50] = '50,"Ann'
    rows[450] = 'x"y'
    rows[500] = '500,"Ann\nand\nBo"'
    source = {"max_line_bytes": 200}
    content = ("id,name\n" + "\n".join(rows)).encode()
    outcome = compared(tmp_path, [("a.csv", content)], THREE, columns=COLUMNS, source=source)
    assert (outcome.shards["count"], outcome.shards["whole"]) == (3, {})
    assert outcome.metrics["rows_rejected"] == 2


@pytest.mark.parametrize(
    ("name", "content", "flow", "words"),
    [
        ("a.csv.gz", gzip.compress(CSV), {}, "it is compressed (gzip)"),
        ("a.csv", CSV.replace(b"\n", b"\r"), {}, r"its lines end with \r"),
        (
            "a.csv",
            CSV.decode().encode("utf-16"),
            {"source": {"csv": {"encoding": "utf-16"}}},
            "encoding is utf-16",
        ),
        ("a.json", b'[{"id": 1}, {"id": 2}]', {"source": {"format": "json"}}, "format json is not cut"),
    ],
)
def test_one_file_that_is_not_split(tmp_path: Path, name: str, content: bytes, flow: Any, words: str) -> None:
    suffix = ".ndjson" if name.endswith("json") else ".csv"
    outcome = compared(tmp_path, [(name, content)], THREE, rejects_as=suffix, columns=COLUMNS, **flow)
    assert outcome.shards["count"] == 1
    assert words in why(outcome)


def test_of_several_files_each_is_a_shard_at_least(tmp_path: Path) -> None:
    files = [("a.csv", CSV), ("b.csv.gz", gzip.compress(b"name,ID,more\nBo,7,x\nCy,70,y\nno\n"))]
    outcome = compared(tmp_path, files, {"url": "here", "shard_bytes": 300}, columns=COLUMNS)
    assert outcome.shards == {"engine": "here", "count": 3, "whole": {"b.csv.gz": "it is compressed (gzip)"}}


def test_the_first_row_that_must_not_be_there_is_named_by_its_number_in_the_whole(tmp_path: Path) -> None:
    rules = [{"name": "small", "sql": "id < 41", "on_fail": "fail"}]
    outcome = compared(tmp_path, [("a.csv", CSV)], THREE, columns=COLUMNS, rules=rules)
    assert "19 rows break the rule 'small: is broken', which must never be broken: line 43 " in outcome.error


@pytest.mark.parametrize(
    ("content", "flow", "words"),
    [
        (b"id\n" + LINES.encode(), {}, "has no column 'name'"),
        (
            CSV,
            {"rejects": {"max_ratio": 0.0}, "columns": {"id": {"type": "integer", "maximum": 3}}},
            "max_ratio",
        ),
        (CSV.replace(b"Ann 40", b"A" * 999), {"source": {"max_line_bytes": 100}}, ""),
    ],
)
def test_a_failure_is_that_of_one_worker(tmp_path: Path, content: bytes, flow: Any, words: str) -> None:
    outcome = compared(tmp_path, [("a.csv", content)], THREE, **({"columns": COLUMNS} | flow))
    assert words in outcome.error


@pytest.mark.thorough
def test_what_is_read_twice_is_removed_once_all_is_staged(tmp_path: Path) -> None:
    run(tmp_path, [("a.csv", CSV + b"bad\n")], THREE, columns=COLUMNS)
    left = {path.name for path in (tmp_path / "sharded/run").glob("shard-*/*") if path.is_file()}
    assert left == {"malformed.0", "shard"}, "the last one, which shows on which lines rows are"
    assert len(list((tmp_path / "sharded/run").glob("shard-*/shard"))) == 1


class Losing(Here):
    """Is lost at the task of this number."""

    def __init__(self, at: int) -> None:
        self._left = at

    def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
        for result in super().map(function, arguments, pause):
            if self._left == 0:
                raise ExecutorLost("the scheduler is gone")
            self._left -= 1
            yield result


TASKS = 12
"""Of a run with two shards: two each of looks, shards, stages, parts of twins, statistics, and built files."""


@pytest.mark.parametrize(
    "at",
    [pytest.param(n, marks=() if n in (0, 5, TASKS) else pytest.mark.thorough) for n in range(TASKS + 1)],
)
def test_an_executor_that_is_lost_fails_the_run_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(coordinator, "executor_of", lambda url: Losing(at))
    outcome = run(tmp_path, [("a.csv", CSV)], {**THREE, "shards": 2}, columns=COLUMNS)
    if at == TASKS:
        assert outcome.error == ""
    else:
        assert outcome.error == "the scheduler is gone. Nothing was written: submit the run again"
        assert outcome.files == {}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"duckdb": "1.0.0"},
            r"the worker on .+ \(process \d+\) has DuckDB \S+, and this server has 1\.0\.0",
        ),
        (
            {"lume_local": "abc"},
            r"has another lume_local \(\w{12}\) than this server \(abc\): install the same",
        ),
    ],
)
def test_other_versions_than_the_servers_do_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, str], words: str
) -> None:
    class Elsewhere(Here):
        def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
            for argument in arguments:
                with monkeypatch.context() as patch:
                    patch.setattr(coordinator, "versions", lambda: mine)
                    result = function(argument)
                yield result

    mine = coordinator.versions()
    monkeypatch.setattr(coordinator, "versions", lambda: mine | other)
    monkeypatch.setattr(coordinator, "executor_of", lambda url: Elsewhere())
    outcome = run(tmp_path, [("a.csv", CSV)], THREE, columns=COLUMNS)
    assert re.search(words, outcome.error)
    assert outcome.files == {}


def test_results_that_nobody_wants_any_more_are_closed_even_if_the_executor_keeps_them() -> None:
    closed = list[bool]()

    class Keeping(Here):
        def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
            self.results = self._each()
            return self.results

        def _each(self) -> Iterator[Json]:
            try:
                yield {"failed": "versions", "where": "another machine", "has": {"duckdb": "1.0.0"}}
            finally:
                closed.append(True)

    executor = Keeping()
    with pytest.raises(ExecutorLost, match=r"has DuckDB 1\.0\.0"):
        next(coordinator.ExecutorTasks(executor, lambda: None).do("take_in", [{}]))
    assert closed == [True]


@pytest.mark.thorough
def test_a_task_is_told_of_its_own_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow and the names of all files in every task would be their number squared."""
    told: list[str] = []

    class Listening(Here):
        def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
            told.extend(str(argument) for argument in arguments)
            return super().map(function, arguments, pause)

    monkeypatch.setattr(coordinator, "executor_of", lambda url: Listening())
    files = [(f"file-{n:03}.csv", b"id,name\n%d,Ann\n" % n) for n in range(30)]
    outcome = compared(tmp_path, files, THREE, columns=COLUMNS | {"a_column_of_its_own": {"sql": "name"}})
    assert outcome.shards["count"] == 30
    firsts = [one for one in told if "'take_in'" in one]
    assert len(firsts) == 30
    assert max(len(set(re.findall(r"file-\d+", one))) for one in told) == 1
    assert not any("a_column_of_its_own" in one for one in firsts)


def test_the_pieces_of_a_shard_are_found_without_looking_at_all() -> None:
    class Counted(list[PieceLook]):
        looked = 0

        def __getitem__(self, number: Any) -> Any:
            Counted.looked += 1
            return super().__getitem__(number)

        def __iter__(self) -> Iterator[PieceLook]:
            for one in super().__iter__():
                Counted.looked += 1
                yield one

    count = 2000
    pieces = tuple((n * 10, n * 10 + 10) for n in range(count))
    looks = Counted(
        PieceLook(n * 10, False, (n * 10 + 5, n * 10 + 7), f"copy{n}", n * 10) for n in range(count)
    )
    cut = Cut(Plan(Single({"kind": "store"}, "x", count * 10), "", b"", pieces), looks)  # type: ignore[arg-type]
    shards = cut.shards(0)
    assert len(shards) == count
    arguments = [cut.argument(shard) for shard in shards]
    assert arguments[1]["segments"] == [
        {"path": "copy1", "start": 5, "end": 10},
        {"path": "copy2", "start": 0, "end": 5},
    ]
    assert sum(end["end"] - end["start"] for one in arguments for end in one["segments"]) == count * 10
    assert Counted.looked < 30 * count


def test_a_file_that_shrinks_while_shards_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ones before are taken in by then; none of them is one of the file as it is now."""
    source = tmp_path / "a.csv"

    class Shrinking(Here):
        def map(self, function: Function, arguments: Sequence[Json], pause: Pause) -> Iterator[Json]:
            def noted() -> Iterator[Json]:
                for number, argument in enumerate(arguments):
                    if argument["task"] == "take_in" and number == 3:
                        source.write_bytes(CSV[: len(CSV) // 3])
                    yield argument

            return super().map(function, noted(), pause)  # type: ignore[arg-type]

    monkeypatch.setattr(coordinator, "executor_of", lambda url: Shrinking())
    outcome = run(tmp_path, [("a.csv", CSV)], {**THREE, "shards": 6}, columns=COLUMNS)
    assert outcome.error == f"{source} was changed while it was read: submit the run again"


def test_how_malformed_lines_are_read(tmp_path: Path) -> None:
    files = [("a.csv", CSV + b"bad\n"), ("b.csv", b"name,id,more\n" + b"Ann,1,\n" * 40 + b"worse\n" * 20)]
    outcome = compared(tmp_path, files, THREE, columns={"id": {}, "name": {}})
    dialect = {"csv": {"delim": ",", "quote": '"', "escape": ""}, "encoding": "utf-8"}
    assert outcome.metrics["malformed_lines"] == [
        {"header": ["id", "name"], **dialect, "files": ["a.csv"]},
        {"header": ["name", "id", "more"], **dialect, "files": ["b.csv"]},
    ]


def test_lines_that_come_back(tmp_path: Path) -> None:
    """Those of several files are not guessed about, and marks are no letters."""
    header = "_lume_row,_lume_line,_lume_reasons,_lume_file,id,name,_lume_raw\n"
    rows = "".join(f"{n},,,f{n % 2},{n},Ann,\n" for n in range(60))
    bad = ',7,malformed line: not valid UTF-8,f1,7,A\ufffd,\n,8,too few,f1,,,"8,B"\n'
    outcome = compared(
        tmp_path, [("m.csv", f"{header}{rows}{bad}".encode())], THREE, columns={"id": {}, "name": {}}
    )
    assert (outcome.metrics["rows_mapped"], outcome.shards["count"]) == (60, 3)
    reasons = sorted(outcome.metrics["reject_reasons"])
    assert "are still missing" in reasons[0]
    assert "the header of its file is not known" in reasons[1]
    assert outcome.metrics["malformed_lines"] == [{"header": None, "files": ["f1"]}]


def test_columns_that_are_not_read(tmp_path: Path) -> None:
    lines = [b'{"id": %d, "x%d": 1}\n' % (n, n // 20) for n in range(60)]
    source = {"format": "ndjson", "on_unknown_columns": "warn"}
    outcome = compared(
        tmp_path, [("a", b"".join(lines))], THREE, rejects_as=".ndjson", columns={"id": {}}, source=source
    )
    assert set(outcome.metrics["warnings"]) == {f"column 'x{n}' is not read" for n in range(3)}


def test_expectations_are_of_all_rows(tmp_path: Path) -> None:
    expect = [
        {"name": "enough", "sql": "count(*) = 60 AND max(id) = 59", "on_fail": "fail"},
        {"name": "few", "sql": "rows_mapped < 60 OR sum(id) < 3", "on_fail": "fail"},
    ]
    outcome = compared(tmp_path, [("a.csv", CSV)], THREE, columns=COLUMNS, expect=expect)
    assert "few" in outcome.error
