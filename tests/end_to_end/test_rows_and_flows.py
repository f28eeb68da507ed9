"""Rows and flow versions through both APIs, from a real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE, write_flows

import lume_async
import lume_local
import lume_sync

MIXED = "id,Email,Age\n" + "".join(
    f"{n},{'no address' if n % 3 == 0 else f'p{n}@example.org'},{n % 200}\n" for n in range(2500)
)
EXPECTED = [n for n in range(2500) if n % 3 == 0 or n % 200 > 150]
REASON = "email: is not an email address"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lume_local.ThreadedServer]:
    home = tmp_path_factory.mktemp("rows")
    write_flows(home / "flows")
    (home / "people.csv").write_text(MIXED)
    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home]) as server:
        yield server


@pytest.fixture(scope="module")
def run_id(server: lume_local.ThreadedServer) -> str:
    with server.client() as client:
        return client.run("people:v1", "people.csv").wait().id


def numbers(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["id"]) for row in rows]


async def test_asynchronous(server: lume_local.ThreadedServer, run_id: str) -> None:
    async with lume_async.Client(server.api_key, base_url=server.base_url) as client:
        run = client.attach(run_id)
        assert numbers([row async for row in run.rejects()]) == EXPECTED
        assert numbers([row async for row in run.mapped()]) == [n for n in range(2500) if n not in EXPECTED]
        assert numbers([row async for row in run.mapped(limit=3)]) == [1, 2, 4]
        found = [row async for row in run.rejects(REASON, limit=1200)]
        assert numbers(found) == list(range(0, 2500, 3))
        assert found[1]["_lume_reasons"] == [REASON]
        assert found[1]["_lume_row"] == 4
        listed = [flow async for flow in client.list_flows("people")]
        assert [(flow.flow_version, flow.runs) for flow in listed] == [("people:v1", 1)]


def test_an_unknown_flow_has_no_runs_but_no_rows_to_work_on_either(
    server: lume_local.ThreadedServer, run_id: str
) -> None:
    with server.client() as client:
        assert list(client.list_runs(flow_version="people:v9")) == list(client.list_runs(flow="nobody")) == []
        for refused in (lambda: next(client.open_rejects(flow="nobody")), lambda: client.replay("nobody")):
            with pytest.raises(lume_sync.InvalidRequestError) as caught:
                refused()
            assert caught.value.status_code == 404


def test_tables(server: lume_local.ThreadedServer, run_id: str) -> None:
    with server.client() as client:
        run = client.attach(run_id)
        mapped = run.mapped().to_arrow()
        assert {field.name: str(field.type) for field in mapped.schema}["id"] == "int64"
        assert mapped.to_pylist() == list(run.mapped())
        assert [row for batch in run.mapped(limit=3).to_arrow_batches() for row in batch.to_pylist()] == list(
            run.mapped(limit=3)
        )
        rejects = run.rejects(REASON).to_arrow()
        assert numbers(rejects.to_pylist()) == list(range(0, 2500, 3))
        wanted = [row["_lume_reasons"] for row in run.rejects(REASON)]
        assert rejects["_lume_reasons"].to_pylist() == wanted


def test_synchronous(server: lume_local.ThreadedServer, run_id: str) -> None:
    with server.client() as client:
        run = client.run_status(run_id)
        assert numbers(list(run.rejects())) == EXPECTED
        assert numbers(list(run.rejects(REASON))) == list(range(0, 2500, 3))
        rows = run.mapped()
        assert next(rows) == {"id": 1, "email": "p1@example.org", "age": 1}
        assert next(rows)["id"] == 2
        for row in run.mapped():  # leaving early costs nothing
            assert row["id"] == 1
            break


def test_flows(server: lume_local.ThreadedServer, tmp_path: Path) -> None:
    with server.client() as client:
        text = PEOPLE.replace('"v1"', '"v2"')
        made = client.register_flow(text)
        assert (made.flow_version, made.is_new) == ("people:v2", True)
        path = tmp_path / "people.toml"
        path.write_text(text)
        assert not client.register_flow(path).is_new
        assert client.flow_version("people:v2").content_hash == made.content_hash
        with pytest.raises(lume_sync.InvalidRequestError, match="a version never changes"):
            client.register_flow({**made.definition, "description": "other"})
        with pytest.raises(lume_sync.InvalidRequestError, match="there is no flow version 'people:v9'"):
            client.flow_version("people:v9")
        with pytest.raises(lume_sync.InvalidRequestError, match="'money' is not one of integer"):
            client.register_flow({**made.definition, "version": "v3", "columns": {"id": {"type": "money"}}})
        found = {flow.flow_version: flow for flow in client.list_flows()}
        column = found["people:v2"].columns[1]
        assert (column.name, column.required, column.constraints) == ("email", True, {"format": "email"})


def test_the_default_client(server: lume_local.ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_API_KEY", server.api_key)
    monkeypatch.setenv("LUME_BASE_URL", server.base_url)
    try:
        assert lume_sync.flow_version("people:v1").flow_version == "people:v1"
        assert "people:v1" in [flow.flow_version for flow in lume_sync.list_flows()]
        assert not lume_sync.register_flow(lume_sync.flow_version("people:v1").definition).is_new
    finally:
        lume_sync.close()


def test_a_run_without_rows(server: lume_local.ThreadedServer, run_id: str) -> None:
    with server.client() as client:
        failed = client.run("people:v1", "absent.csv")
        with pytest.raises(lume_sync.RunFailedError):
            failed.wait()
        with pytest.raises(lume_sync.InvalidRequestError, match="ended FAILED and wrote no rows"):
            next(failed.mapped())
        with pytest.raises(lume_sync.RunNotFoundError):
            next(client.attach("run_0").rejects())


def test_the_pages_of_a_list_go_on_in_another_client(server: lume_local.ThreadedServer, run_id: str) -> None:
    got: list[int] = []
    cursor = None
    with server.client() as client:
        whole = numbers(list(client.open_rejects(run=run_id)))
    while True:
        with server.client() as client:
            *_, page = client.open_rejects(run=run_id, limit=300, cursor=cursor).pages()
        got += numbers(page.items)
        if (cursor := page.cursor) is None:
            break

    assert got == whole


def test_a_cursor_belongs_to_its_filters(server: lume_local.ThreadedServer, run_id: str) -> None:
    with server.client() as client:
        page = next(client.open_rejects(run=run_id, limit=5).pages())
        for refused in (
            client.open_rejects(flow="people", cursor=page.cursor),
            client.list_runs(cursor=page.cursor),
            client.audit(cursor="of another server"),
        ):
            with pytest.raises(
                lume_sync.InvalidRequestError, match=r"cursor is not .*: start again without it"
            ):
                next(refused)
