"""Runs from a shell: ids, formats, exit codes, against a real server."""

import json
from collections.abc import Callable
from pathlib import Path

from cli.shell import Shell
from local.flows import PEOPLE_CSV

from lume_cli._output.text import short
from lume_sync import Client, LumeRun

MIXED_CSV = PEOPLE_CSV + "x,not an address,200\n"


def test_run_prints_the_id_and_nothing_else(shell: Shell, source: Callable[..., str], client: Client) -> None:
    done = shell.lume("run", "people:v1", source(), "--metadata", "ticket=7", "--metadata", "a=b=c")
    assert (done.code, done.err) == (0, "")
    run = client.run_status(done.out.removesuffix("\n"))
    assert run.run_metadata == {"ticket": "7", "a": "b=c"}
    run.wait(10)


def test_run_wait_shows_the_life_cycle_on_stderr(shell: Shell, source: Callable[..., str]) -> None:
    done = shell.lume("run", "people:v1", source(), "--wait")
    assert done.code == 0
    run_id = done.out.strip()
    assert done.out == f"{run_id}\n"
    assert f"run {short(run_id)} SUCCEEDED in " in done.err
    assert "3 rows read, 3 mapped, 0 rejected" in done.err
    assert "  mapped: /" in done.err
    assert "\x1b" not in done.err


def test_the_url_of_a_webhook_reaches_the_server(shell: Shell, source: Callable[..., str]) -> None:
    done = shell.lume("run", "people:v1", source(), "--webhook-url", "https://example.org/hook")
    assert (done.code, "webhook" in done.err) == (1, True)  # this server has no secret to sign with


def test_a_partial_failure_is_5_unless_it_is_allowed(shell: Shell, source: Callable[..., str]) -> None:
    name = source(MIXED_CSV)
    assert shell.lume("run", "people:v1", name, "--wait").code == 5
    again = ("run", "people:v1", name, "--wait", "--force-rerun", "--allow-partial", "-o", "json")
    done = shell.lume(*again)
    assert (done.code, done.err) == (0, "")
    run = json.loads(done.out)
    assert (run["status"], run["metadata"]["metrics"]["rows_rejected"]) == ("PARTIAL_FAILED", 1)


def test_rows_in_another_encoding_are_told_what_they_look_like(
    shell: Shell, source: Callable[..., str], home: Path
) -> None:
    name = source()
    with (home / name).open("ab") as file:
        file.write("9,j\u00fcrgen@example.org,20\n".encode("cp1252"))
    hint = (
        "1 row is not valid UTF-8, perhaps cp1252, as spreadsheets save CSV: save the source as UTF-8; or, if it is "
        "CSV and entirely in that encoding, set csv.encoding in a new flow version"
    )

    done = shell.lume("run", "people:v1", name, "--wait")

    assert done.code == 5
    assert f"  hint: {hint}" in done.err
    assert hint in shell.lume("show", done.out.strip()).out
    assert hint in shell.lume("wait", done.out.strip()).err
    other = shell.lume("run", "people:v1", source(MIXED_CSV), "--wait")
    assert other.code == 5
    assert "hint" not in other.err


def test_a_failed_run_is_3(shell: Shell) -> None:
    done = shell.lume("run", "people:v1", "no_such_file.csv", "--wait")
    assert done.code == 3
    assert "FAILED" in done.err


def test_a_run_is_told_in_json_lines_from_its_start_to_its_end(
    shell: Shell, source: Callable[..., str]
) -> None:
    done = shell.lume("run", "people:v1", source(), "--wait", "-o", "ndjson")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert len({line["id"] for line in lines}) == 1
    assert (lines[0]["status"], lines[-1]["status"]) == ("CREATED", "SUCCEEDED")
    assert done.err == ""


def test_a_duplicate_names_its_run_and_can_be_attached_to(shell: Shell, source: Callable[..., str]) -> None:
    name = source()
    first = shell.lume("run", "people:v1", name, "--wait").out.strip()
    done = shell.lume("run", "people:v1", name, "-o", "json")
    error = json.loads(done.err)["error"]
    assert (done.code, done.out) == (1, "")
    assert (error["code"], error["run_id"], error["retryable"]) == ("duplicate_run", first, False)
    assert error["request_id"]
    assert error["message"]
    attached = shell.lume("run", "people:v1", name, "--on-duplicate", "attach")
    assert (attached.code, attached.out.strip()) == (0, first)


def test_a_source_that_was_changed_is_not_attached_to(
    shell: Shell, source: Callable[..., str], home: Path
) -> None:
    name = source()
    first = shell.lume("run", "people:v1", name, "--wait").out.strip()
    (home / name).write_text(MIXED_CSV)
    for choice in ("raise", "attach"):
        done = shell.lume("run", "people:v1", name, "--on-duplicate", choice, "-o", "json")
        error = json.loads(done.err)["error"]
        assert (done.code, done.out) == (1, "")
        assert (error["code"], error["run_id"], error["source_changed"]) == ("duplicate_run", first, True)
        assert "pass --force-rerun to process what it has now" in error["message"]
        assert "attach" not in error["hint"]
    again = shell.lume("run", "people:v1", name, "--force-rerun", "--wait")
    assert again.code == 5
    attached = shell.lume("run", "people:v1", name, "--on-duplicate", "attach")
    assert (attached.code, attached.out) == (0, again.out)


def test_an_idempotency_key_never_makes_a_second_run(shell: Shell, source: Callable[..., str]) -> None:
    command = ("run", "people:v1", source(), "--idempotency-key", "key-of-the-test", "--force-rerun")
    first, second = shell.lume(*command), shell.lume(*command)
    assert first.out == second.out
    assert (first.code, second.code) == (0, 0)


def test_a_wait_that_times_out_is_124_and_the_run_goes_on(shell: Shell, slow_run: LumeRun) -> None:
    done = shell.lume("wait", slow_run.id, "--timeout", "200ms", "-o", "json")
    assert done.code == 124
    error = json.loads(done.err)["error"]
    assert (error["code"], error["run_id"], error["retryable"]) == ("run_timeout", slow_run.id, True)
    assert json.loads(done.out)[0]["id"] == slow_run.id
    slow_run.refresh()
    assert not slow_run.is_terminal


def test_run_wait_that_times_out_is_124(shell: Shell, slow_source: Callable[[], str]) -> None:
    done = shell.lume("run", "slow:v1", slow_source(), "--wait", "--timeout", "0.2", "--poll-interval", "0.1")
    assert done.code == 124
    assert f"lume wait {done.out.strip()}" in done.err


def test_status_shows_several_runs_and_tells_the_unknown_one(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    good = client.run("people:v1", source(MIXED_CSV)).wait(10)
    done = shell.lume("status", good.id, "run_unknown")
    assert done.code == 1
    header, row = done.out.splitlines()
    assert header.split() == ["RUN", "STATUS", "FLOW", "AGE", "TOOK", "SOURCE"]
    assert row.split()[:3] == [short(good.id), "PARTIAL_FAILED", "people:v1"]
    assert "run_unknown" in done.err
    assert shell.lume("status", good.id).code == 0
    assert shell.lume("status", good.id, "--exit-status").code == 5


def test_wait_takes_the_worst_of_several(shell: Shell, source: Callable[..., str], client: Client) -> None:
    good = client.run("people:v1", source())
    partial = client.run("people:v1", source(MIXED_CSV))
    failed = client.run("people:v1", "missing.csv", force_rerun=True)
    done = shell.lume("wait", good.id, partial.id, failed.id, "-o", "json")
    statuses = [run["status"] for run in json.loads(done.out)]
    assert statuses == ["SUCCEEDED", "PARTIAL_FAILED", "FAILED"]
    assert done.code == 3
    assert shell.lume("wait", good.id, partial.id).code == 5


def test_cancel_and_wait_for_the_cancelled_run(shell: Shell, slow_run: LumeRun) -> None:
    done = shell.lume("cancel", slow_run.id, "-o", "ndjson")
    assert (done.code, json.loads(done.out)["id"]) == (0, slow_run.id)
    waited = shell.lume("wait", slow_run.id)
    assert waited.code == 6
    assert "CANCELLED" in waited.out


def test_a_cancel_of_a_run_that_has_ended_says_so(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    ended = client.run("people:v1", source()).wait(10)
    done = shell.lume("cancel", ended.id)
    assert (done.code, "SUCCEEDED" in done.out) == (0, True)
    assert f"warning: run {short(ended.id)} has ended SUCCEEDED already: nothing was cancelled" in done.err
    assert client.run_status(ended.id).status == "SUCCEEDED"


def test_watch_ends_with_what_came_of_each_run(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    name = source(MIXED_CSV)
    run = client.run("people:v1", name)
    header, row = shell.lume("watch", run.id).out.splitlines()[-2:]
    assert header.split() == ["RUN", "STATUS", "ROWS", "REJECTS", "TOOK", "SOURCE"]
    assert row.split()[:4] == [short(run.id), "PARTIAL_FAILED", "4", "1"]
    assert row.endswith(name)


def test_watch_says_why_a_run_failed(shell: Shell, client: Client) -> None:
    run = client.run("people:v1", "missing.csv", force_rerun=True)
    done = shell.lume("watch", run.id)
    client.wait_all([run], timeout=15)
    run.refresh()
    assert done.code == 3
    assert f"{short(run.id)}  FAILED  {run.error_message}" in done.out


def test_status_says_why_a_run_failed(shell: Shell, client: Client) -> None:
    run = client.run("people:v1", "missing.csv", force_rerun=True)
    client.wait_all([run], timeout=15)
    run.refresh()
    done = shell.lume("status", run.id)
    assert (done.code, done.out.count("\n")) == (0, 2)
    assert f"run {short(run.id)} FAILED" in done.err
    assert str(run.error_message) in done.err


def test_watch_stops_after_its_timeout(shell: Shell, slow_run: LumeRun) -> None:
    done = shell.lume("watch", slow_run.id, "--timeout", "500ms", "-o", "ndjson")
    assert done.code == 124
    assert slow_run.id in done.err


def test_show_tells_rows_reasons_and_places(shell: Shell, source: Callable[..., str], client: Client) -> None:
    run = client.run("people:v1", source(MIXED_CSV), {"ticket": 7}).wait(10)
    done = shell.lume("show", run.id)
    facts = [line.split(None, 1) for line in done.out.splitlines()]
    assert ["rows", "4 read, 3 mapped, 1 rejected"] in facts
    assert ["rejected", "1 row: email: is not an email address"] in facts
    assert ["metadata", '{"ticket": 7}'] in facts
    assert ["mapped", run.mapped_location] in facts
    assert ["rejects", run.rejects_location] in facts
    as_json = json.loads(shell.lume("--json", "show", run.id).out)
    assert as_json["metadata"] == run.metadata


def test_list_filters_and_limits(shell: Shell, source: Callable[..., str], client: Client) -> None:
    name = source()
    runs = [client.run("people:v1", name, force_rerun=True).wait(10) for _ in range(3)]
    done = shell.lume("list", "--source", name, "--limit", "2", "-o", "ndjson")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == [runs[2].id, runs[1].id]
    filtered = shell.lume("list", "--source", name, "--status", "succeeded", "--flow", "people:v1", "--json")
    assert len(json.loads(filtered.out)) == 3
    none = shell.lume("list", "--source", name, "--status", "CRASHED")
    assert (none.code, none.out, none.err) == (0, "", "no runs match\n")


def test_a_refused_key_is_4(shell: Shell) -> None:
    done = shell.lume("list", LUME_API_KEY="wrong")
    assert done.code == 4
    assert "lume doctor" in done.err
    assert "wrong" not in done.err


def test_an_id_that_is_too_short_says_how_long_one_is(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    run = client.run("people:v1", source())
    for command in ("show", "wait", "rejects"):
        done = shell.lume(command, short(run.id)[:7])
        assert done.code == 1
        assert "a short id needs at least its first 8 characters" in done.err


def test_no_advice_to_force_what_is_in_progress(shell: Shell, slow_run: LumeRun) -> None:
    for forced in ([], ["--force-rerun"]):
        done = shell.lume("run", "slow:v1", str(slow_run.source_path), *forced)
        assert done.code == 1
        assert f"hint: `lume wait {slow_run.id}`, or submit with --on-duplicate attach\n" in done.err
