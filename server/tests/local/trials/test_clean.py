"""`lume_local.clean`: the result of a run without a server."""

import io
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from local.flows import people
from local.one_run import fetch
from local.oracles.random_files import Case, csv_case, ndjson_case
from local.oracles.random_tables import compressed_case, excel_case, json_case, many_case, parquet_case

import lume_local
import lume_sync
from lume_async.errors import InvalidRequestError, RunFailedError
from lume_async.models import RunStatus
from lume_local._shared.protocol import MEMORY_LIMIT
from lume_local._trials import clean

ORDERS = """
flow = "orders"
version = "v1"
[columns.id]
type = "integer"
unique = true
[columns.price]
type = "number"
sql_type = "decimal(12, 2)"
"""
ROWS = b"id,price\n1,2\nx,3\n3,2944.9\n3,4\n"


class Site(NamedTuple):
    """A server with a root."""

    root: Path
    client: lume_sync.Client


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    with (
        lume_local.serve_in_thread(None, root / ".lume", [root], max_active=1) as server,
        server.client() as client,
    ):
        yield Site(root, client)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "orders.toml").write_text(ORDERS)
    (tmp_path / "orders.csv").write_bytes(ROWS)
    return tmp_path


def plain(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with floats in place of decimals, of which a client makes floats if they are short."""
    return [
        {key: float(one) if isinstance(one, Decimal) else one for key, one in row.items()} for row in rows
    ]


def compare(site: Site, name: str, files: dict[str, bytes], flow: dict[str, Any]) -> str:
    """Clean the files, and run the same flow on them: values, reasons, order and counts are equal."""
    (site.root / name).mkdir()
    paths = [site.root / name / one for one in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    source = flow.get("source", {}) | {"uri": [f"{{source_path}}/{path.name}" for path in paths]}
    rejects = ".ndjson" if source.get("format") in ("ndjson", "json") else ".csv"
    target = {
        key: f"{{data}}/{name}/{key}{end}" for key, end in (("mapped", ".parquet"), ("rejects", rejects))
    }
    definition = people(**flow | {"flow": name, "source": source, "target": target})
    site.client.register_flow(definition)
    run = site.client.run(f"{name}:v1", name)
    with suppress(RunFailedError):
        run.wait(timeout=60)

    shown = paths if len(paths) == 1 else [path.relative_to(site.root) for path in paths]

    def clean() -> lume_local.CleanResult:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(site.root)
            return lume_local.clean(shown, definition, to=site.root / name / "clean.parquet")

    if run.status == RunStatus.FAILED:
        with pytest.raises(RunFailedError) as caught:
            clean()
        assert str(caught.value) == f"{name}:v1: {run.error_message}"
        assert {path.name for path in (site.root / name).iterdir()} == files.keys()
        return "FAILED"
    result = clean()
    assert (result.status, result.metadata["metrics"]) == (run.status, dict(run.metadata)["metrics"])
    mapped, clean = str(run.mapped_location), str(result.mapped_location)
    assert fetch(clean) == fetch(mapped)
    assert Path(clean).read_bytes() == Path(mapped).read_bytes()
    assert (result.rejects_location is None) == (run.rejects_location is None)
    if result.rejects_location:
        assert Path(result.rejects_location).read_bytes() == Path(str(run.rejects_location)).read_bytes()
    assert plain(result.rejects(limit=1000)) == plain(run.rejects(limit=1000))
    assert plain(result.mapped(limit=1000)) == plain(run.mapped(limit=1000))
    return str(result.status)


CASES: dict[str, Callable[..., Case]] = {
    one.__name__: one for one in (csv_case, ndjson_case, compressed_case, json_case, excel_case)
}


@pytest.mark.parametrize("kind", [*CASES, "parquet", "many"])
def test_a_clean_gives_what_a_run_gives(site: Site, tmp_path: Path, kind: str) -> None:
    ended = set()
    for seed in range(6):
        rng = random.Random(f"{kind} {seed}")
        if kind == "many":
            files, case = many_case(rng, 15)
        else:
            case = parquet_case(rng, 15, tmp_path) if kind == "parquet" else CASES[kind](rng, 15)
            files = [("source", case.content)]
        ended.add(compare(site, f"{kind}_{seed}", dict(files), case.flow))
    assert ended - {"FAILED"}, "all of them failed"


def test_large_files_are_read_as_by_a_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more memory, as they have more than 16 MB."""
    limits, run_job = list[int](), clean.run_job
    monkeypatch.setattr(clean, "_SMALL", 1_000_000)
    monkeypatch.setattr(
        clean, "run_job", lambda job, *more: limits.append(job.memory_limit) or run_job(job, *more)
    )
    rows = "".join(f"{n % 60_000},{n}.5\n" for n in range(100_000))
    columns = {"id": {"type": "integer", "unique": True}, "price": {"type": "number", "maximum": 90_000}}
    assert (
        compare(site, "large", {"a.csv": f"id,price\n{rows}".encode()}, {"columns": columns})
        == "PARTIAL_FAILED"
    )
    assert limits[0] > MEMORY_LIMIT


def test_rows_paths_and_counts(folder: Path) -> None:
    result = lume_local.clean("orders.csv", "orders.toml", to="out.parquet")
    assert (result.status, result.flow_version) == (RunStatus.PARTIAL_FAILED, "orders:v1")
    assert result.mapped_location == str(folder / "out.parquet")
    assert result.rejects_location == str(folder / "out.rejects.csv")
    metrics = result.metadata.metrics
    assert (metrics.rows_read, metrics.rows_mapped, metrics.rows_rejected) == (4, 2, 2)
    assert [stage.name for stage in result.metadata.stages][-1] == "SYNCING_TARGET"
    assert list(result.mapped()) == [
        {"id": 1, "price": Decimal("2.00")},
        {"id": 3, "price": Decimal("2944.90")},
    ]
    reasons = [(row["_lume_row"], row["_lume_reasons"]) for row in result.rejects()]
    assert reasons == [(2, ["id: is not a valid integer"]), (4, ["id: repeats the value of an earlier row"])]
    assert len(list(result.rejects(reason="id: is not a valid integer"))) == 1
    assert sorted(path.name for path in folder.iterdir()) == [
        *("orders.csv", "orders.toml", "out.parquet", "out.rejects.csv")
    ]


def test_without_to_the_rows_are_temporary(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    before = sorted(folder.iterdir())
    with lume_local.clean(folder / "orders.csv", ORDERS) as result:
        assert (result.mapped_location, result.rejects_location) == (None, None)
        assert result.metadata["target_locations"] == {"mapped": None, "rejects": None}
        table = result.to_arrow()
        assert table.to_pylist() == list(result.mapped())
        (_, first), *_ = [(path, path) for path in [Path(result._run.target_locations["mapped"])]]
        assert first.exists()
    assert not first.exists()
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["bytes", "file", "rows", "pandas", "polars", "pyarrow"])
def test_data_of_a_program(kind: str) -> None:
    rows = [{"id": "1", "price": "2"}, {"id": "x", "price": "3"}, {"id": "3", "price": "2944.9"}]
    if kind in ("bytes", "file"):
        source: Any = ROWS if kind == "bytes" else io.BytesIO(ROWS)
    elif kind == "rows":
        source = iter(rows)
    else:
        module = pytest.importorskip(kind)
        source = module.Table.from_pylist(rows) if kind == "pyarrow" else module.DataFrame(rows)
    with lume_local.clean(source, ORDERS) as result:
        assert [row["id"] for row in result.mapped()] == [1, 3]
        assert result.metadata["run"]["source_path"] == "data"


def test_outputs_are_replaced_as_a_pair(folder: Path) -> None:
    lume_local.clean("orders.csv", "orders.toml", to="out/")
    assert sorted(path.name for path in (folder / "out").iterdir()) == [
        *("orders.clean.parquet", "orders.rejects.csv")
    ]
    (folder / "orders.csv").write_bytes(b"id,price\n1,2\n")
    result = lume_local.clean("orders.csv", "orders.toml", to="out")
    assert (result.status, result.rejects_location) == (RunStatus.SUCCEEDED, None)
    assert [path.name for path in (folder / "out").iterdir()] == ["orders.clean.parquet"]

    before = (folder / "out/orders.clean.parquet").read_bytes()
    (folder / "orders.csv").write_bytes(b"id,price\nx,2\n")
    with pytest.raises(RunFailedError, match="the only row was rejected"):
        lume_local.clean("orders.csv", "orders.toml", to="out")
    assert [path.read_bytes() for path in (folder / "out").iterdir()] == [before]


def test_files_of_others_stay(folder: Path) -> None:
    (folder / "out.rejects.csv").write_text("my notes\n")
    with pytest.raises(InvalidRequestError, match="has no rejected rows: move it, or name another file"):
        lume_local.clean("orders.csv", "orders.toml", to="out.parquet")
    with pytest.raises(InvalidRequestError, match="has no rejected rows"):
        lume_local.clean("orders.csv", "orders.toml", to="a.parquet", rejects="out.rejects.csv")
    with pytest.raises(InvalidRequestError, match=r"name a file that ends with \.parquet, \.csv, \.ndjson"):
        lume_local.clean("orders.csv", "orders.toml", to="out.xlsx")
    with pytest.raises(RunFailedError, match=r"target\.mapped is the same file as the source"):
        lume_local.clean("orders.csv", "orders.toml", to="orders.csv", rejects="r.csv")
    with pytest.raises(RunFailedError, match="is the same file as"):
        lume_local.clean("orders.csv", "orders.toml", to="a.csv", rejects="a.csv")
    with pytest.raises(InvalidRequestError, match="rejects is without effect"):
        lume_local.clean("orders.csv", "orders.toml", rejects="a.csv")
    assert (folder / "out.rejects.csv").read_text() == "my notes\n"
    assert (folder / "orders.csv").read_bytes() == ROWS
    assert sorted(path.name for path in folder.iterdir()) == ["orders.csv", "orders.toml", "out.rejects.csv"]


def test_what_only_a_server_can_do_is_noted(folder: Path) -> None:
    table = '[target]\nmapped = { url_env = "NO_URL", table = "t", mode = "append" }\n'
    flow = ORDERS.replace("unique = true", 'unique = "ever"').replace("[columns.id]", f"{table}[columns.id]")
    with lume_local.clean("orders.csv", flow) as result:
        assert [row["id"] for row in result.mapped()] == [1, 3]
        notes = result.metadata["notes"]
    assert ["has a table as its target" in notes[0], 'id: unique = "ever"' in notes[1]] == [True, True]


def test_a_source_that_cannot_be_read_says_so(folder: Path) -> None:
    with pytest.raises(RunFailedError, match=r"there is no file .*none\.csv: put it there, then try again"):
        lume_local.clean("none.csv", "orders.toml")
    with pytest.raises(RunFailedError, match=r"is a folder"):
        lume_local.clean(folder, "orders.toml")
    with pytest.raises(InvalidRequestError, match="a URL of sftp:// can't be read here") as caught:
        lume_local.clean("sftp://me:my-password@host/a.csv", "orders.toml")
    assert "my-password" not in str(caught.value)
    with pytest.raises(InvalidRequestError, match="or only objects of a store"):
        lume_local.clean(["s3://bucket/a.csv", "orders.csv"], "orders.toml")
    with pytest.raises(RunFailedError, match="has no layouts"):
        lume_local.clean("orders.csv", "orders.toml", layout="acme")
    with pytest.raises(
        InvalidRequestError, match="must be a path, bytes, a binary file, rows or a table, not int"
    ):
        lume_local.clean(7, "orders.toml")  # type: ignore[arg-type]
    with pytest.raises(lume_local.FlowError, match="colour"):
        lume_local.clean("orders.csv", ORDERS + "colour = 1\n")
    with pytest.raises(FileNotFoundError):
        lume_local.clean("orders.csv", "none.toml")
    with pytest.raises(InvalidRequestError, match="flow must be a path, the text of a flow file or a dict"):
        lume_local.clean("orders.csv", None)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match=r"not str: open the file in binary mode$"):
        lume_local.clean(io.StringIO("id,price\n1,2\n"), "orders.toml")  # type: ignore[arg-type]
    for to in ("s3://bucket/a.csv", ""):
        with pytest.raises(InvalidRequestError, match=r"outputs? "):
            lume_local.clean("orders.csv", "orders.toml", to=to)
    assert sorted(path.name for path in folder.iterdir()) == ["orders.csv", "orders.toml"]


def test_threads_take_turns(folder: Path) -> None:
    found: dict[int, list[Any]] = {}

    def work(n: int) -> None:
        with lume_local.clean(f"id,price\n{n},1\n".encode(), ORDERS) as result:
            found[n] = [row["id"] for row in result.mapped()]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: [n] for n in range(4)}


def test_rows_may_come_from_another_clean(folder: Path) -> None:
    def first() -> Iterator[dict[str, Any]]:
        with lume_local.clean("orders.csv", "orders.toml") as result:
            yield from result.mapped()

    with lume_local.clean(first(), "orders.toml") as result:
        assert [row["id"] for row in result.mapped()] == [1, 3]


def test_a_named_index_is_a_column() -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"price": [2]}, index=pandas.Index([7], name="id"))
    with lume_local.clean(table, ORDERS) as result:
        assert [row["id"] for row in result.mapped()] == [7]
