"""Rows, tables and bytes as sources, and corrected rejects: through both APIs, from a real server."""

import io
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from local.flows import write_flows

import lume_async
import lume_local
import lume_sync

SOURCE = "id,Email,Age\n1,ann@example.org,31\nx,bob@example.org,\n3,no address,47\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lume_local.ThreadedServer]:
    home = tmp_path_factory.mktemp("in")
    write_flows(home / "flows")
    (home / "people.csv").write_text(SOURCE)
    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home], max_active=1) as server:
        yield server


@pytest.fixture(scope="module")
def run(server: lume_local.ThreadedServer) -> Iterator[lume_sync.LumeRun]:
    with server.client() as client:
        yield client.run("people:v1", "people.csv", {"ticket": "OPS-7"}).wait()


def corrected(run: lume_sync.LumeRun, number: int) -> list[dict[str, Any]]:
    """With ids that no other test has: of one source, each is accepted once."""
    rows = list(run.rejects())
    rows[0]["id"], rows[1]["id"], rows[1]["Email"] = str(number), str(number + 100), "cy@example.org"
    return rows


def test_corrected_rows_are_processed_once(run: lume_sync.LumeRun) -> None:
    rows = corrected(run, 2)

    new = run.resubmit(rows)

    assert type(new) is lume_sync.LumeRun
    assert (new.wait().status, new.reused) == ("SUCCEEDED", False)
    assert [row["id"] for row in new.mapped()] == [2, 102]
    metadata = dict(new.run_metadata or {})
    assert len(metadata.pop("resubmit_sha256")) == 64
    assert metadata == {"ticket": "OPS-7", "resubmit_of": run.id, "resubmit_source": run.source_path}
    again = run.resubmit(rows)
    assert (again, again.reused, again.idempotency_key) == (new, True, None)
    assert run.resubmit(rows, force=True) != new


def test_of_several_at_the_same_time_one_is_processed(run: lume_sync.LumeRun) -> None:
    rows = corrected(run, 21)

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: run.resubmit(rows), range(6)))

    assert len({one.id for one in found}) == 1
    assert [one.reused for one in found].count(False) == 1
    again = run.rerun(force=True).wait()
    assert not again.resubmit(rows).reused, "the same rejects of another run are others"


def test_a_corrected_table(run: lume_sync.LumeRun) -> None:
    new = run.resubmit(pytest.importorskip("pandas").DataFrame(corrected(run, 11))).wait()
    assert (new.status, [row["id"] for row in new.mapped()]) == ("SUCCEEDED", [11, 111])


def test_what_is_no_rejects_is_refused(run: lume_sync.LumeRun) -> None:
    with pytest.raises(lume_sync.InvalidRequestError, match="has no _lume_ columns, so it is not a rejects"):
        run.resubmit([{"id": 1, "Email": "ann@example.org"}])
    with pytest.raises(lume_sync.InvalidRequestError, match="corrected must be a path, bytes"):
        run.resubmit(5)
    with pytest.raises(lume_sync.InvalidRequestError, match="open the file in binary mode"):
        run.resubmit(io.StringIO(SOURCE))
    assert run.resubmit([{"id": 91, "Email": "ann@example.org", "Age": None}], force=True).wait().succeeded


async def test_an_asynchronous_iterable_and_a_file_object(
    server: lume_local.ThreadedServer, run: lume_sync.LumeRun
) -> None:
    rows = [{"_lume_row": 2, "id": 31, "Email": "bob@example.org", "Age": None}]

    async def given() -> AsyncIterator[dict[str, Any]]:
        for row in rows:
            yield row

    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        old = client.attach(run.id)
        new = await old.resubmit(given())
        assert type(new) is lume_async.LumeRun
        text = "_lume_row,id,Email,Age\n2,32,bob@example.org,\n"
        other = await old.resubmit(io.BytesIO(text.encode()))
        assert [(await one.wait()).status for one in (new, other)] == ["SUCCEEDED"] * 2


def test_a_dry_run_leaves_nothing(server: lume_local.ThreadedServer) -> None:
    with server.client() as client:
        before = [one.id for one in client.list_runs()]
        dry = client.dry_run("people:v1", "people.csv", limit=1)
        assert (dry.status, dry.would_fail) == ("PARTIAL_FAILED", False)
        assert (dry.metrics.rows_read, len(dry.mapped), len(dry.rejects)) == (3, 1, 1)
        assert dry.rejects[0]["_lume_reasons"] == ["id: is not a valid integer"]
        assert client.dry_run("people:v1", "no_such.csv").would_fail
        assert [one.id for one in client.list_runs()] == before


def test_runs_are_counted_and_listed(server: lume_local.ThreadedServer, run: lume_sync.LumeRun) -> None:
    with server.client() as client:
        counts = client.statistics(by=["flow_version", "status"], since=3600)
        assert {(one.flow_version, str(one.status)) for one in counts} >= {("people:v1", "PARTIAL_FAILED")}
        assert sum(one.runs for one in client.statistics(flow="people")) == len(list(client.list_runs()))
        fresh = client.run("people:v1", data=SOURCE.encode() + b"4,,\n").wait()
        assert fresh in list(client.list_runs(flow="people", source="data", attention=0.5, since=3600))
        assert fresh not in list(client.list_runs(flow="people", attention=0.9))
        fresh.dismiss("nothing is left to do")
        assert fresh not in list(client.list_runs(flow="people", attention=0.5))
        assert not list(client.list_runs(flow="other"))
        assert client.flow_version("people:v1").target_schema["title"] == "people:v1"  # type: ignore[index]
        assert run.deliveries() == []


ROWS: list[dict[str, Any]] = [
    {"id": 1, "Email": "ann@example.org", "Age": 31},
    {"id": 2, "Email": 'bo; "the" second@example.org\n', "Age": None},
]


@pytest.mark.parametrize(
    "form", ["rows", "generator", "pandas", "polars", "pyarrow", "bytes", "file", "path"]
)
def test_data_of_any_kind_is_one_run(server: lume_local.ThreadedServer, tmp_path: Path, form: str) -> None:
    rows = [{**row, "form": form} for row in ROWS]

    def given() -> Any:
        text = f"id,Email,Age,form\n1,ann@example.org,31,{form}\n2,,,x\n".encode()
        (tmp_path / "own.csv").write_bytes(text)
        kinds = {
            "rows": lambda: rows,
            "generator": lambda: (row for row in rows),
            "bytes": lambda: text,
            "file": lambda: io.BytesIO(text),
            "path": lambda: tmp_path / "own.csv",
        }
        if form in kinds:
            return kinds[form]()
        library = pytest.importorskip(form)
        return library.Table.from_pylist(rows) if form == "pyarrow" else library.DataFrame(rows)

    with server.client() as client:
        run = client.run("people:v1", data=given(), run_metadata={"form": form}).wait()
        assert (run.status, run.reused) == ("PARTIAL_FAILED", False)
        assert list(run.mapped()) == [{"id": 1, "email": "ann@example.org", "age": 31}]
        again = client.run("people:v1", data=given())
        assert (again, again.reused) == (run, True)
        assert client.run("people:v1", data=given(), force_rerun=True).wait() != run


def test_data_of_which_nothing_was_written_may_be_run_again(server: lume_local.ThreadedServer) -> None:
    with server.client() as client:
        first, second = (
            client.run("people:v1", data=[{"id": "x", "Email": "", "Age": ""}]) for _ in range(2)
        )
        for run in (first, second):
            with pytest.raises(lume_sync.RunFailedError):
                run.wait()
        third = client.run("people:v1", data=[{"id": "x", "Email": "", "Age": ""}])
        assert third not in (first,)


def test_rows_are_written_in_the_format_that_the_flow_reads(server: lume_local.ThreadedServer) -> None:
    with server.client() as client:
        run = client.run("notes:v1", data=[{"text": "Grüße, Ann\n", "stars": 3}]).wait()
        assert list(run.mapped()) == [{"text": "Grüße, Ann\n", "stars": 3}]


def test_an_upload_with_progress_and_a_name(server: lume_local.ThreadedServer) -> None:
    seen: list[tuple[int, int | None]] = []
    content = b"id,Email,Age\n" + b"1,ann@example.org,31\n" * 40_000
    with server.client() as client:
        source = client.upload(
            (content[n : n + 1000] for n in range(0, len(content), 1000)),
            name="my file.csv",
            flow_version="people:v1",
            progress=lambda sent, total: seen.append((sent, total)),
        )
        assert source.endswith("my_file.csv")
        assert seen == sorted(seen)
        assert seen[-1] == (len(content), len(content))
        assert client.dry_run("people:v1", source, limit=0).metrics.rows_read == 40_000


@pytest.mark.parametrize(
    "arguments", [{}, {"source_path": "a.csv", "data": b"id\n"}, {"data": object()}, {"data": {"id": 1}}]
)
def test_what_is_no_source(server: lume_local.ThreadedServer, arguments: dict[str, Any]) -> None:
    with server.client() as client, pytest.raises(lume_sync.InvalidRequestError, match="no request was sent"):
        client.run("people:v1", **arguments)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": object()}], "row 1, column id: object has no text"),
        ([{"id": 1}, 5], "row 2 must be a dict"),
        ([b"id\n", {"id": 1}], "bytes or of rows, not dict"),
        ([{5: 1}], "has a name that is not a string"),
    ],
)
def test_rows_that_can_not_be_written(
    server: lume_local.ThreadedServer, rows: list[Any], message: str
) -> None:
    with server.client() as client, pytest.raises(lume_sync.InvalidRequestError, match=message):
        client.run("people:v1", data=rows)
