"""`lume forget`: what a server has of a person is counted, and removed with --yes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.shell import Shell

import lume_local
from lume_sync import Client

ADA = "ada@example.com"


@pytest.fixture
def server(home: Path, tmp_path: Path) -> Iterator[lume_local.ThreadedServer]:
    """One for each test, since all runs of a server are searched."""
    with lume_local.serve_in_thread(home / "flows", tmp_path / ".lume", [home]) as server:
        yield server


@pytest.fixture
def client(server: lume_local.ThreadedServer) -> Iterator[Client]:
    with server.client() as client:
        yield client


def test_a_person_is_counted_and_then_removed(shell: Shell, client: Client) -> None:
    run = client.run("people:v1", data=f"id,Email,Age\n1,{ADA},36\n2,bob@example.org,1\nx,{ADA},1\n".encode())
    run.wait(30)
    counted = shell.lume("forget", "--match", f"email={ADA}")
    assert counted.code == 0, counted.err
    assert [line.rsplit(None, 1) for line in counted.out.splitlines()] == [
        ["PLACE", "FOUND"],
        ["output rows", "1"],
        ["rejected rows", "1"],
        ["uploads", "1"],
        ["texts", "0"],
    ]
    assert counted.err == "nothing was changed: pass --yes to remove the rows\n"
    done = shell.lume("forget", "--match", f"email={ADA}", "--match", "Age=36", "--yes", "-o", "json")
    assert done.code == 5, done.err  # "36" is too short to search files for
    report = json.loads(done.out)
    assert (report["outputs"], report["rejects"], len(report["uploads"])) == (1, 0, 1)
    assert [*report["left"]] == ["uploads and texts"]
    assert [row["email"] for row in run.mapped()] == ["bob@example.org"]
    assert client.forget({"email": ADA}).rejects == 1
    assert client.forget({"email": f" {ADA.upper()} "}, ignore_case=True, dry_run=False).rejects == 1
    assert client.forget({"email": ADA}, ignore_case=True).rejects == 0


def test_backups_and_tables_are_listed(lone: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    data, copy = lone.folder / ".lume", lone.folder / "copy"
    monkeypatch.setenv("WAREHOUSE_URL", f"sqlite:///{lone.folder / 'warehouse.db'}")
    table = {"url_env": "WAREHOUSE_URL", "table": "mails", "mode": "append", "create": True}
    flow = {"flow": "mails", "version": "v1", "columns": {"mail": {}}, "target": {"mapped": table}}
    with lume_local.serve_in_thread(None, data, [lone.folder]) as server, server.client() as client:
        client.register_flow(flow)
        client.run("mails:v1", data=f"mail\n{ADA}\nbob@example.org\n".encode()).wait(30)
        lume_local.back_up(data, copy)
        lone.variables.update(LUME_BASE_URL=server.base_url, LUME_API_KEY=server.api_key)
        counted = lone.lume("forget", "--match", f"mail={ADA}")
        assert counted.code == 5, counted.err
        assert "table mails of WAREHOUSE_URL: has 1 row of runs: repeat it with tables; or run" in counted.out
        assert f"backup {copy}: " in counted.out
        assert "0 days old" in counted.out
        stays = lone.lume("forget", "--match", f"mail={ADA}", "--yes")
        assert "table mails of WAREHOUSE_URL: has 1 row" in stays.out
        assert "table mails of WAREHOUSE_URL " not in stays.out
        done = lone.lume("forget", "--match", f"mail={ADA}", "--tables", "--yes", "-o", "json")
        report = json.loads(done.out)
        assert report["tables"] == {"table mails of WAREHOUSE_URL": 1}
        assert [*report["backups"]] == [str(copy)]
        assert client.forget({"mail": ADA}).tables == {"table mails of WAREHOUSE_URL": 0}


def test_a_source_that_stays_is_named(shell: Shell, client: Client, source: Callable[..., str]) -> None:
    path = source(f"id,Email,Age\n1,{ADA},36\nx,{ADA},1\n")
    run = client.run("people:v1", path).wait(30)
    # The comment goes with its row: it is no text that was found only when they were counted.
    client.assign_rejects("ann", comment=f"ask {ADA}", run=run.id, rows=[1])
    done = shell.lume("forget", "--match", f"email={ADA}", "--yes")
    assert done.code == 5, done.err
    assert done.err == "backups still have the rows\n"
    assert f"{path}: is a source, which is only read: a rerun brings the rows back" in done.out


def test_nobody_is_named(shell: Shell) -> None:
    for match in ("email", "=x", "email="):
        found = shell.lume("forget", "--match", match)
        assert (found.code, found.out) == (2, "")
        assert "--match is a column and its value" in found.err
    twice = shell.lume("forget", "--match", "a=1", "--match", "a=2")
    assert twice.code == 2
