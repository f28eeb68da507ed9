"""`lume arrivals`: what arrives, from the command line."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.shell import Shell

import lume_local

FLOW = "flow = 'members'\nversion = 'v1'\n[columns.id]\ntype = 'integer'\n"
ARRIVALS = '[[arrival]]\nname = "acme"\nflow = "members"\nfrom = "in/*.csv"\nready = { quiet = "100ms" }\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("flows", "in"):
        (tmp_path / name).mkdir()
    (tmp_path / "flows/members.v1.toml").write_text(FLOW)
    (tmp_path / "arrivals.toml").write_text(ARRIVALS)
    return tmp_path


@pytest.fixture
def server(home: Path) -> Iterator[lume_local.ThreadedServer]:
    with lume_local.serve_in_thread(
        flows=home / "flows", data=home / ".lume", roots=[home], arrivals=home / "arrivals.toml", max_active=1
    ) as server:
        yield server


def test_list(home: Path, server: lume_local.ThreadedServer, shell: Shell) -> None:
    (home / "in/a.csv").write_text("id\n1\n")
    (home / "in/link.csv").symlink_to("/etc/passwd")
    with server.client() as client:
        while [one.status for one in client.arrivals().files] != [None, "SUCCEEDED"]:
            time.sleep(0.02)
    done = shell.lume("arrivals", "list")
    assert done.code == 0, done.err
    header, refused, submitted = done.out.splitlines()
    assert header.split() == ["ARRIVAL", "STATE", "SINCE", "PATH", "RUN", "STATUS", "WHY"]
    assert "in/link.csv" in refused
    assert "it is a link" in refused
    assert "SUCCEEDED" in submitted
    assert "acme: in/*.csv to members, watched by inotify: 0 waiting, 1 submitted, 1 refused" in done.err
    (one,) = json.loads(shell.lume("arrivals", "list", "acme", "--state", "submitted", "-o", "json").out)
    assert (one["path"], one["status"]) == ("in/a.csv", "SUCCEEDED")
    assert shell.lume("arrivals", "list", "nobody").code == 1


def test_retry(home: Path, server: lume_local.ThreadedServer, shell: Shell) -> None:
    """Of one arrival, of a path, and of all; and nothing without one of them."""
    (home / "in/a.csv").write_text("other\n1\n")
    with server.client() as client:
        while [one.status for one in client.arrivals().files] != ["FAILED"]:
            time.sleep(0.02)
        for options in (["acme"], ["--path", "in/a.csv"], ["--all"]):
            done = shell.lume("arrivals", "retry", *options, "-o", "json")
            (one,) = json.loads(done.out)
            assert (one["arrival"], one["path"], one["state"]) == ("acme", "in/a.csv", "submitted"), done.err
            client.wait_all([client.attach(one["run_id"])], timeout=60)
        assert len(list(client.list_runs())) == 4
    done = shell.lume("arrivals", "retry", "acme", "--path", "in/b.csv")
    assert (done.code, done.err) == (0, "no such file has failed\n")
    assert "pass --all" in shell.lume("arrivals", "retry").err
    assert "there is no arrival 'nobody'" in shell.lume("arrivals", "retry", "nobody").err


def test_where_a_file_lies_that_was_put_aside(
    home: Path, server: lume_local.ThreadedServer, shell: Shell
) -> None:
    (home / "arrivals.toml").write_text(ARRIVALS.replace('"acme"', '"shop"') + 'failed = "quarantine/"\n')
    with server.client() as client:
        while [one.name for one in client.arrivals().arrivals] != ["shop"]:
            time.sleep(0.02)
        (home / "in/a.csv").write_text("other\n1\n")
        while [one.lies_at for one in client.arrivals().files] != ["in/quarantine/a.csv"]:
            time.sleep(0.02)
        (one,) = client.arrivals().files
    assert "  it lies at in/quarantine/a.csv: " in shell.lume("arrivals", "list").out
    assert "in/quarantine/a.csv" in shell.lume("show", str(one.run_id)).out


def test_check(home: Path, shell: Shell) -> None:
    done = shell.lume("arrivals", "check", str(home / "arrivals.toml"), "-o", "json")
    assert json.loads(done.out) == [{"name": "acme", "flow": "members", "from": "in/*.csv"}]
    (home / "wrong.toml").write_text(ARRIVALS + 'form = 1\nchanged = "x"\nfailed = "/q"\nretry = -1\n')
    done = shell.lume("arrivals", "check", str(home / "wrong.toml"))
    assert done.code == 1
    assert "wrong.toml:6: arrival[0].form" in done.err
    assert "wrong.toml:7: arrival[0].changed" in done.err
    assert "wrong.toml:8: arrival[0].failed: '/q' must be a folder below the folder of from" in done.err
    assert "wrong.toml:9: arrival[0].retry: must be a whole number from 0 to 20" in done.err
    (home / "both.toml").write_text("[[arrival]]\nform = 1\n[[message]]\non = 1\n[[mesage]]\n")
    said = shell.lume("arrivals", "check", str(home / "both.toml")).err
    for mistake in ("2: arrival[0].form: ", "4: message[0].on: ", "5: mesage: is not a known key"):
        assert said.count(f"both.toml:{mistake}") == 1


@pytest.fixture
def pinned(home: Path) -> None:
    """One more arrival, which names a version."""
    kept = ARRIVALS.replace('"members"', '"members:v1"').replace("acme", "kept").replace("in/*", "in/x/*")
    (home / "arrivals.toml").write_text(ARRIVALS + kept)


@pytest.mark.usefixtures("pinned", "server")
def test_a_new_layout_tells_which_arrivals_keep_their_version(home: Path, shell: Shell) -> None:
    (home / "new.csv").write_text("Member ID;x\n1;2\n")
    done = shell.lume("flow", "map", "members:v1", "new.csv", "-o", "flows/")
    assert done.code == 0, done.err
    assert "members:v2 on new.csv by layout new: 1 row read, 1 clean, 0 rejected" in done.err
    assert "these arrivals keep their version until their flow is set to members:v2: kept\n" in done.err
