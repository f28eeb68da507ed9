"""`lume rerun`, and `lume run --upload`."""

import json
from collections.abc import Callable
from pathlib import Path

from cli.shell import Shell
from local.flows import PEOPLE_CSV

from lume_cli._output.text import short
from lume_sync import Client, LumeRun


def test_a_run_that_has_output_is_forced(shell: Shell, source: Callable[..., str], client: Client) -> None:
    old = client.run("people:v1", source(), {"ticket": "OPS-7"}).wait(10)
    done = shell.lume("rerun", short(old.id), "--wait", "-o", "json")
    new = json.loads(done.out)
    assert (done.code, new["status"], new["force_rerun"]) == (0, "SUCCEEDED", True)
    assert new["id"] != old.id
    assert (new["source_path"], new["run_metadata"]) == (old.source_path, {"ticket": "OPS-7"})


def test_a_run_that_failed_is_not(shell: Shell, client: Client, home: Path) -> None:
    old = client.run("people:v1", "comes_later.csv", force_rerun=True)
    client.wait_all([old], timeout=10)
    (home / "comes_later.csv").write_text(PEOPLE_CSV)
    done = shell.lume("rerun", old.id)
    new = client.run_status(done.out.strip())
    assert (done.code, new.force_rerun, new.id == old.id) == (0, False, False)


def test_a_source_that_was_changed_since_is_told(
    shell: Shell, source: Callable[..., str], client: Client, home: Path
) -> None:
    old = client.run("people:v1", source()).wait(10)
    assert "other content" not in shell.lume("rerun", old.id, "--wait").err
    (home / str(old.source_path)).write_text(PEOPLE_CSV + "9,zoe@example.org,7\n")
    latest = next(iter(client.list_runs(source_path=old.source_path)))
    done = shell.lume("rerun", old.id, "--wait")
    assert done.code == 0, done.err
    assert f"the source has other content than run {short(latest.id)} has read" in done.err


def test_a_failed_run_whose_source_was_processed_since(shell: Shell, client: Client, home: Path) -> None:
    old = client.run("people:v1", "late one.csv")
    client.wait_all([old], timeout=10)
    (home / "late one.csv").write_text(PEOPLE_CSV)
    since = client.run("people:v1", "late one.csv").wait(10)
    refused = shell.lume("rerun", old.id)
    assert refused.code == 1
    hint = refused.err[refused.err.index("hint: ") :]
    assert f"`lume show {short(since.id)}`" in hint
    assert "`lume run people:v1 'late one.csv' --force-rerun`" in hint
    assert "--on-duplicate" not in refused.err


def test_a_run_whose_source_is_being_processed(shell: Shell, client: Client, slow_run: LumeRun) -> None:
    slow_run.cancel()
    client.wait_all([slow_run], timeout=10)
    active = client.run("slow:v1", str(slow_run.source_path))
    refused = shell.lume("rerun", slow_run.id)
    active.cancel()
    assert (refused.code, f"hint: `lume wait {short(active.id)}`" in refused.err) == (1, True), refused.err
    assert "--on-duplicate" not in refused.err


def test_a_run_that_is_active_is_left_alone(shell: Shell, slow_run: LumeRun) -> None:
    done = shell.lume("rerun", slow_run.id)
    assert (done.code, done.out) == (2, "")
    assert f"lume wait {short(slow_run.id)}" in done.err


def test_a_file_outside_of_the_roots_is_uploaded(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(PEOPLE_CSV)
    path = str(tmp_path / "mine.csv")
    refused = shell.lume("run", "people:v1", path)
    assert (refused.code, "`lume run --upload` sends it" in refused.err) == (1, True)
    refused = shell.lume("run", "people:v1", "../mine.csv")
    assert (refused.code, "`lume run --upload` sends it" in refused.err) == (2, True), refused.err
    done = shell.lume("run", "people:v1", path, "--upload", "--wait")
    assert (done.code, "SUCCEEDED" in done.err) == (0, True), done.err


def test_what_is_sent_is_shown_at_a_terminal_only(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(PEOPLE_CSV)
    seen = shell.screen("run", "people:v1", "mine.csv", "--upload", "--wait", width=120)
    assert (seen.code, "sending mine.csv" in seen.out) == (0, True), seen.out
    piped = shell.lume("run", "people:v1", "mine.csv", "--upload", "--wait")
    assert (piped.code, "sending" in piped.err) == (0, False), piped.err


SEEDED = """
flow = "seeded"
version = "v1"
[seeds.names]
path = "names.csv"
key = "id"
per_run = true
[columns.name]
sql = "seed('names', id, 'name')"
"""


def test_a_seed_for_one_run(shell: Shell, home: Path, source: Callable[..., str], tmp_path: Path) -> None:
    (home / "flows/seeded.v1.toml").write_text(SEEDED)
    (home / "names.csv").write_text("id,name\n1,Ann\n")
    (tmp_path / "own.csv").write_text("id,name\n1,Bo\n")
    (tmp_path / "wrong.csv").write_text("no,name\n1,Bo\n")
    run = shell.lume("run", "seeded:v1", source(), "--seed", "names=own.csv", "--wait")
    assert run.code == 0, run.err
    rows = shell.lume("show", run.out.split()[0], "-o", "json")
    seeds = json.loads(rows.out)["metadata"]["run"]["seeds"]
    assert seeds["names"]["source_path"].startswith("upload://")
    for seed, words in (
        ("names=nowhere.csv", "--seed names: nowhere.csv does not exist"),
        ("names", "must look like NAME=FILE"),
    ):
        refused = shell.lume("run", "seeded:v1", source(), "--seed", seed)
        assert (refused.code, words in refused.err) == (2, True), refused.err
    for seed, words in (
        ("names=wrong.csv", "needs one column 'id'"),
        ("other=own.csv", "has no seed 'other'"),
    ):
        refused = shell.lume("run", "seeded:v1", source(), "--seed", seed)
        assert (refused.code != 0, words in " ".join(refused.err.split())) == (True, True), refused.err
