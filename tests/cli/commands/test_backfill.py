"""`lume backfill`: many sources, a summary, and a journal that resumes."""

import json
import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.shell import DEADLINE, Shell
from local.flows import PEOPLE_CSV

from lume_sync import Client


@pytest.mark.thorough
def test_a_file_of_paths_ends_in_a_summary(shell: Shell, source: Callable[..., str], tmp_path: Path) -> None:
    names = [source(), source(), source(PEOPLE_CSV + "x,y,z\n")]
    (tmp_path / "paths.txt").write_text("\n\n".join(names))
    command = ("backfill", "people:v1", "--from-file", "paths.txt", "--journal", "state.db")
    done = shell.lume(*command)
    assert done.code == 5
    assert done.out.startswith(
        "3 outcomes: SUCCEEDED 2, PARTIAL_FAILED 1\nrows: 10 read, 9 mapped, 1 rejected\n"
    )
    assert "3 of 3 finished: SUCCEEDED 2, PARTIAL_FAILED 1" in done.err
    again = shell.lume(*command, "--allow-partial", "-o", "json")
    assert (again.code, again.err) == (0, "")
    assert json.loads(again.out)["statuses"] == {"SUCCEEDED": 2, "PARTIAL_FAILED": 1}


def test_stdin_is_read_as_it_comes(shell: Shell, source: Callable[..., str]) -> None:
    names = [source(), "no_such_file.csv"]
    done = shell.lume(
        "backfill", "people:v1", "--from-file", "-", "--force-rerun", "-o", "ndjson", stdin="\n".join(names)
    )
    outcomes = {line["source_path"]: line for line in map(json.loads, done.out.splitlines())}
    assert done.code == 3
    assert outcomes[names[0]]["run"]["status"] == "SUCCEEDED"
    assert outcomes[names[1]]["run"]["status"] == "FAILED"


@pytest.mark.thorough
def test_a_refused_key_stops_it_at_once(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "paths.txt").write_text("".join(f"{n}.csv\n" for n in range(30)))
    done = shell.lume("backfill", "people:v1", "--from-file", "paths.txt", LUME_API_KEY="wrong")
    assert (done.code, done.out) == (4, "")
    assert done.err.count("error: ") == done.err.count("`lume doctor` shows details") == 1


@pytest.mark.thorough
@pytest.mark.parametrize("journal", [[], ["--journal", "state.db"]])
def test_no_server_stops_it_after_a_few(lone: Shell, journal: list[str]) -> None:
    # Few at a time: each is tried three times, and a busy machine took longer for fifty than a test may.
    command = ("backfill", "a:v1", "--from-file", "-", "--max-active", "8", *journal, "-o", "json")
    stdin = "".join(f"{n}.csv\n" for n in range(200))
    for _ in range(1 + len(journal) // 2):
        done = lone.lume(*command, stdin=stdin, LUME_API_KEY="k", LUME_BASE_URL="http://127.0.0.1:9")
        error = json.loads(done.err.splitlines()[-1])["error"]  # on a busy machine after a warning
        assert (done.code, done.out, error["code"], error["retryable"]) == (1, "", "stopped", True)
        assert "the first 5 sources all failed" in error["message"]
        assert ("with the journal nothing is lost" in error["hint"]) == bool(journal)


def test_an_unknown_flow_version_stops_it_after_a_few(shell: Shell) -> None:
    command = ("backfill", "unknown:v1", "--from-file", "-")
    done = shell.lume(*command, stdin="".join(f"{n}.csv\n" for n in range(200)))
    assert (done.code, done.out) == (1, "")
    assert "error: stopped: the first 5 sources all failed with: " in done.err
    assert "there is no flow version 'unknown:v1'" in done.err
    assert "  hint: correct FLOW, or " in done.err
    few = shell.lume(*command, stdin="a.csv\nb.csv\n")
    assert few.out.splitlines()[-1].startswith("2 x InvalidRequestError: ")


def test_comments_and_blank_lines_are_no_sources(shell: Shell, source: Callable[..., str]) -> None:
    command = ("backfill", "people:v1", "--from-file", "-", "-o", "ndjson")
    name = source()
    done = shell.lume(*command, stdin=f"# all of May\n\n  # not yet: x.csv\n{name}\n")
    assert (done.code, json.loads(done.out)["source_path"]) == (0, name)
    assert json.loads(done.err)["summary"]["statuses"] == {"SUCCEEDED": 1}
    empty = shell.lume(*command[:-2], stdin="# none\n")
    assert (empty.code, empty.out) == (0, "")
    assert empty.err == "no source paths in the list; nothing to do\n"


def test_duplicates_are_told_once_in_the_words_of_the_command_line(
    shell: Shell, source: Callable[..., str]
) -> None:
    names = [source(), source()]
    command = ("backfill", "people:v1", "--from-file", "-")
    assert shell.lume(*command, stdin="\n".join(names)).code == 0
    done = shell.lume(*command, stdin="\n".join(names))
    assert done.code == 1
    assert done.out.splitlines()[-1].startswith("2 x DuplicateRunError: ")
    assert "or pass --force-rerun to process it again" in done.out
    assert "hint: --on-duplicate attach follows the runs that hold these sources; --force-rerun" in done.err
    told = json.loads(shell.lume(*command, "-o", "json", stdin=names[0]).out)["failures"][0]
    assert "force_rerun" not in told["message"]
    once = shell.lume("run", "people:v1", names[0])
    assert "--force-rerun" in once.err
    assert "force_rerun" not in once.err


def test_sources_that_were_changed_are_not_attached_to(
    shell: Shell, source: Callable[..., str], home: Path
) -> None:
    names = [source(), source(), source()]
    command = ("backfill", "people:v1", "--from-file", "-", "--on-duplicate", "attach")
    journaled = (*command, "--journal", "changed.db")
    assert shell.lume(*journaled, stdin="\n".join(names)).code == 0
    for name in names[:2]:
        (home / name).write_text((home / name).read_text() + "9,new@example.org,20\n")
    done = shell.lume(*command, stdin="\n".join(names))
    assert done.code == 1
    assert "2 x DuplicateRunError: " in done.out
    assert "hint: 2 sources have changed since their runs read them: --force-rerun" in done.err
    assert "--on-duplicate attach follows" not in done.err
    resumed = shell.lume(*journaled, stdin="\n".join(names))
    assert (resumed.code, "DuplicateRunError" in resumed.out) == (0, False)


def test_a_line_that_is_no_path_is_told_before_anything_is_sent(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "paths.txt").write_text("fine.csv\n\na/../b.csv\n")
    done = shell.lume("backfill", "people:v1", "--from-file", "paths.txt", LUME_BASE_URL="http://127.0.0.1:9")
    assert done.code == 2
    assert "paths.txt:3: source_path contains a '..' part" in done.err


def test_a_bad_line_of_stdin_ends_the_batch_after_what_came_before(
    shell: Shell, source: Callable[..., str]
) -> None:
    done = shell.lume(
        "backfill", "people:v1", "--from-file", "-", "-o", "json", stdin=f"{source()}\n../x\nnever.csv\n"
    )
    assert (done.code, json.loads(done.out)["statuses"]) == (2, {"SUCCEEDED": 1})
    assert "stdin:2: source_path contains a '..' part" in json.loads(done.err)["error"]["message"]


def test_a_journal_of_another_input_is_refused(
    shell: Shell, source: Callable[..., str], tmp_path: Path
) -> None:
    command = ("backfill", "people:v1", "--from-file", "paths.txt", "--journal", "state.db")
    first = source()
    (tmp_path / "paths.txt").write_text(first)
    assert shell.lume(*command).code == 0
    (tmp_path / "paths.txt").write_text(source())
    done = shell.lume(*command)
    assert (done.code, "start a new journal" in done.err) == (1, True)
    (tmp_path / "paths.txt").write_text(f"{first}\n{source()}\n")
    more = shell.lume(*command)
    assert (more.code, "start a new journal" in more.err) == (1, True)
    assert more.out == "", "nothing was done, and so there is nothing to sum up"


@pytest.mark.thorough
def test_what_failed_is_tried_again_where_that_is_asked_for(
    shell: Shell, source: Callable[..., str], home: Path, tmp_path: Path
) -> None:
    good, late = source(), source()
    (home / late).unlink()
    (tmp_path / "paths.txt").write_text(f"{good}\n{late}\n")
    command = ("backfill", "people:v1", "--from-file", "paths.txt", "--journal", "state.db", "-o", "json")
    failed = shell.lume(*command[:-2])
    assert (failed.code, "with --retry-failed" in failed.err) == (3, True)
    (home / late).write_text(PEOPLE_CSV)

    assert shell.lume(*command).code == 3
    again = shell.lume(*command, "--retry-failed")
    assert (again.code, json.loads(again.out)["statuses"]) == (0, {"SUCCEEDED": 2})
    good_now = shell.lume(*command[:-2])
    assert (good_now.code, "--retry-failed" in good_now.err) == (0, False)

    refused = shell.lume(*command[:4], "--retry-failed")
    assert (refused.code, "--retry-failed needs --journal" in refused.err) == (2, True)


def test_ctrl_c_leaves_the_runs_going_and_the_same_command_resumes(
    shell: Shell, slow_source: Callable[[], str], client: Client, tmp_path: Path
) -> None:
    names = [slow_source(), slow_source()]
    (tmp_path / "paths.txt").write_text("\n".join(names))
    started = shell.start(
        "backfill", "slow:v1", "--from-file", "paths.txt", "--journal", "state.db", "--max-active", "5", "-v"
    )
    until_active(client, names)
    started.until(lambda: started.err.count("POST /v1/runs: 201") == 2)
    started.signal(signal.SIGINT)
    done = started.end()
    assert done.code == 130
    resume = done.err.split("`")[-2]
    assert "2 submitted runs keep running; resume with `lume backfill slow:v1" in done.err
    runs = [next(client.list_runs(source_path=name)) for name in names]
    for run in runs:
        assert not run.is_terminal
        run.cancel()
    again = shell.lume(*shlex.split(resume)[1:], "-o", "json")
    assert again.code == 6
    assert json.loads(again.out)["statuses"] == {"CANCELLED": 2}
    assert [len(list(client.list_runs(source_path=name))) for name in names] == [1, 1]


def test_ctrl_c_ends_a_wait_for_stdin(shell: Shell, source: Callable[..., str]) -> None:
    reader, writer = os.pipe()
    try:
        started = shell.start("backfill", "people:v1", "--from-file", "-", "-o", "ndjson", stdin=reader)
        os.write(writer, f"{source()}\n".encode())
        started.until(lambda: "SUCCEEDED" in started.out)
        started.signal(signal.SIGINT)
        done = started.end()
    finally:
        os.close(reader)
        os.close(writer)
    assert done.code == 130
    assert "with --journal FILE" in done.err


def until_active(client: Client, names: list[str]) -> None:
    end = time.monotonic() + DEADLINE
    while not all(list(client.list_runs(source_path=name)) for name in names):
        assert time.monotonic() < end, "not all runs were submitted"


def test_sources_are_named_by_a_pattern(shell: Shell, home: Path) -> None:
    folder = home / "pattern"
    folder.mkdir()
    for name in ("b.csv", "a.csv", "c.txt"):
        (folder / name).write_text(PEOPLE_CSV)
    done = shell.lume("backfill", "people:v1", f"{folder}/*.csv", f"{folder}/a.csv", "-o", "ndjson")
    assert done.code == 0, done.err
    found = [json.loads(line)["source_path"] for line in done.out.splitlines()]
    assert sorted(found) == [f"{folder}/a.csv", f"{folder}/b.csv"]


def test_sources_that_are_not_named_well(shell: Shell) -> None:
    for words, said in (
        ((), "pass the sources, such as 'in/*.csv', or --from-file FILE"),
        (("a.csv", "--from-file", "-"), "pass the sources, such as 'in/*.csv', or --from-file FILE"),
        (("nowhere/*.csv",), "no file matches 'nowhere/*.csv', seen from "),
        (("",), "source_path"),
    ):
        done = shell.lume("backfill", "people:v1", *words, stdin="")
        assert (done.code, said in " ".join(done.err.split())) == (2, True), done.err
