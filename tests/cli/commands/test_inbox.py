"""`lume inbox`, `lume replay` and `lume discard`: open rejected rows from the command line."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.shell import Shell

import lume_local
from lume_async import UnreadableRows
from lume_cli._output.text import short
from lume_cli._work.replay import _unreadable
from lume_sync import Client

V1 = """
flow = "members"
version = "v1"
[columns.id]
type = "integer"
required = true
[columns.mail]
format = "email"
required = true
"""
V2 = V1.replace('"v1"', '"v2"').replace('format = "email"\n', "")
CONTENT = "id,mail\n1,ann@example.org\n2,bob\n3,cy\nx,dee\n"
NOT_AN_ADDRESS = "mail: is not an email address"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lume_local.ThreadedServer]:
    """One for each test, since its inbox has the rows of all runs."""
    home = tmp_path_factory.mktemp("home")
    (home / "flows").mkdir()
    (home / "flows" / "members.v1.toml").write_text(V1)
    (home / "members.csv").write_text(CONTENT)
    with lume_local.serve_in_thread(flows=home / "flows", data=home / ".lume", roots=[home]) as server:
        yield server


@pytest.fixture
def client(server: lume_local.ThreadedServer) -> Iterator[Client]:
    with server.client() as client:
        client.run("members:v1", "members.csv").wait(15)
        yield client


def test_the_inbox(shell: Shell, client: Client) -> None:
    done = shell.lume("inbox")
    assert done.code == 0, done.err
    header, first, second = done.out.splitlines()
    assert header.split() == ["FLOW", "OPEN", "NEW", "CLOSED", "OLDEST", "REASON"]
    assert first.split()[:3] == ["members", "3", "3"]
    assert first.endswith(NOT_AN_ADDRESS)
    assert second.endswith("id: is not a valid integer")
    (flow,) = json.loads(shell.lume("inbox", "members", "-o", "json").out)
    assert (flow["open"], flow["account"]["closes"]) == (3, True)
    assert {one["reason"]: one["open"] for one in flow["reasons"]} == {
        NOT_AN_ADDRESS: 3,
        "id: is not a valid integer": 1,
    }
    assert "there is no flow 'nobody': known are members" in shell.lume("inbox", "nobody").err


def test_corrected_rows_that_wait_for_approval(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "members.v1.toml").write_text(V1 + "[rejects]\napproval = true\n")
    (tmp_path / "members.csv").write_text(CONTENT)
    key = hashlib.sha256(b"ann's key").hexdigest()
    (tmp_path / "keys.toml").write_text(f'[ann]\nrole = "submit"\nsha256 = "{key}"\n')
    with (
        lume_local.serve_in_thread(
            tmp_path / "flows", tmp_path / ".lume", [tmp_path], keys=tmp_path / "keys.toml"
        ) as server,
        Client("ann's key", base_url=server.base_url) as ann,
    ):
        run = ann.run("members:v1", "members.csv").wait(15)
        cells = {"mail": "bob@example.org"}
        changes: Any = {"rows": [{"run": run.id, "row": 1, "cells": cells}]}
        rev = ann.request("PATCH", "/v1/drafts/members", json=changes).json()["rev"]
        ann.request("POST", "/v1/drafts/members/judge", json={})
        assert ann.inbox().flows[0].submissions == []
        ann.request("POST", "/v1/drafts/members/submit", json={"rev": rev})
        (waiting,) = ann.inbox().flows[0].submissions
        assert (waiting.owner, waiting.rev, waiting.to, waiting.rows) == ("ann", rev, "members:v1", 1)
        own = {"LUME_BASE_URL": server.base_url, "LUME_API_KEY": server.api_key}
        listed = shell.lume("inbox", **own)
        assert "waiting for another person's approval: 1 row of ann for members:v1" in listed.err
        ((shown,),) = (one["submissions"] for one in json.loads(shell.lume("inbox", "-o", "json", **own).out))
        assert (shown["owner"], shown["rows"], shown["reason"]) == ("ann", 1, None)


@pytest.mark.thorough
def test_a_replay_first_shows_what_it_would_do(shell: Shell, client: Client) -> None:
    client.register_flow(V2)
    shown = shell.lume("replay", "members", "--reason", "EMAIL ADDRESS", "--since", "90d", "--dry-run")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "members:v2 would accept 2 of 3 rows"
    assert [line.split()[:2] for line in lines[2:]] == [["3", "2"], ["1", "0"]]
    assert "would be rejected again: 1: id: is not a valid integer" in shown.err
    done = shell.lume("replay", "members", "--to", "members:v2", "--wait", "--allow-partial")
    assert done.code == 0, done.err
    assert "3 rows in 1 run of members:v2" in done.err
    (flow,) = client.inbox().flows
    assert (flow.open, flow.account.replayed) == (1, 2)
    again = shell.lume("replay", "members", "--reason", "EMAIL ADDRESS")
    assert again.code == 0
    assert "no open row has a reason that contains 'EMAIL ADDRESS': id: is not a valid integer" in again.err


@pytest.mark.thorough
def test_the_ids_of_a_replay_go_to_stdout(shell: Shell, client: Client) -> None:
    client.register_flow(V2)
    done = shell.lume("replay", "members", "-o", "ids")
    (run_id,) = done.out.split()
    assert client.attach(run_id).wait(15).flow_version == "members:v2"
    nothing = shell.lume("replay", "members", "--reason", "email", "-o", "json")
    assert nothing.code == 0
    assert shell.lume("replay", "members:v2").code == 2
    of_file = shell.lume("replay", "members", "--to", "flows/members.v2.toml")
    assert (of_file.code, "lume flow register flows/members.v2.toml" in of_file.err) == (2, True)
    assert shell.lume("replay", "nobody").code == 1


@pytest.mark.thorough
def test_discarding(shell: Shell, client: Client) -> None:
    done = shell.lume("discard", "members", "--reason", "integer", "--why", "a test row")
    assert (done.code, done.out) == (0, "discarded 1 row\n")
    (run,) = client.list_runs()
    done = shell.lume("discard", "--run", short(run.id), "--why", "known", "-o", "json")
    assert json.loads(done.out) == {"discarded": 2}
    assert client.inbox().flows == []
    assert "no rejected row is open" in shell.lume("inbox", "members").err
    assert [row["id"] for row in client.open_rejects(state="discarded")] == ["2", "3", "x"]
    assert shell.lume("discard", "--why", "x").code == 2
    assert shell.lume("discard", "members").code == 2


@pytest.mark.thorough
def test_rows_are_lost_with_their_rejects(
    shell: Shell, server: lume_local.ThreadedServer, client: Client
) -> None:
    client.register_flow(V2)
    (run,) = client.list_runs()
    Path(run.rejects_location or "").unlink()
    todo = "Run the source again, or discard them: `lume discard members --why …`"
    done = shell.lume("replay", "members")
    assert done.code == 0
    assert f"3 rows of run {run.id} are lost: the file no longer exists. {todo}" in done.err
    assert "open:" not in done.err
    gone = "the rejects file is gone (removed by --keep-output, or by hand)"
    for words in ((), ("members",)):
        assert f"3 rows of members are lost: {gone}. {todo}" in shell.lume("inbox", *words).err
    assert "no rejected row is open" in shell.lume("inbox").err
    done = shell.lume("inbox", "-o", "json")
    assert json.loads(done.err)["warning"]["message"] == f"3 rows of members are lost: {gone}. {todo}"
    (flow,) = json.loads(done.out)
    assert (flow["open"], flow["account"]["lost"], flow["reasons"]) == (0, 3, [])
    (listed,) = client.inbox().flows
    assert (listed.flow, listed.oldest, listed.account.lost) == ("members", None, 3)
    assert shell.lume("discard", "members", "--why", "gone").out == "discarded 3 rows\n"
    assert client.inbox().flows == []
    assert "lost" not in shell.lume("inbox").err


def test_unreadable_rows_are_lost_only_if_their_rejects_are_gone() -> None:
    gone = _unreadable(UnreadableRows("run_1", 1, "output-gone", "the file no longer exists"), "f")
    assert gone == (
        "1 row of run run_1 is lost: the file no longer exists. "
        "Run the source again, or discard it: `lume discard f --why …`"
    )
    for rows, words in (
        (1, "1 row of run run_1 can't be read and stays open"),
        (2, "2 rows of run run_1 can't be read and stay open"),
    ):
        assert _unreadable(UnreadableRows("run_1", rows, "output-unreadable", "x"), "f") == f"{words}: x"


def test_rows_with_their_runs(client: Client) -> None:
    (run,) = client.list_runs()
    rows = list(client.open_rejects(flow="members", reason=NOT_AN_ADDRESS, since=3600, limit=2))
    assert [(row["_lume_run"], row["_lume_reject"], row["mail"]) for row in rows] == [
        (run.id, 1, "bob"),
        (run.id, 2, "cy"),
    ]
    assert list(client.open_rejects(run=run.id, reason="none")) == []
    Path(run.rejects_location or "").unlink()
    with pytest.warns(
        UserWarning, match="3 rejected rows of run .* can't be read: the file no longer exists"
    ):
        assert list(client.open_rejects()) == []
    with pytest.raises(ValueError, match="state must be one of 'open', 'replaying'"):
        client.open_rejects(state="gone")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="either flow or run"):
        client.discard_rejects("why")


@pytest.mark.parametrize("words", [("inbox", "people:v1"), ("discard", "people:v1", "--why", "x")])
def test_a_version_is_not_a_flow(shell: Shell, words: tuple[str, ...]) -> None:
    """Its rows are those of the flow: `0 rows` would be no answer."""
    done = shell.lume(*words)
    assert done.code == 2
    assert "'people:v1' is one version: name the flow, 'people'" in done.err
