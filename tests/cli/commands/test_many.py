"""Several runs: ids from stdin, bare ids on stdout, one look with a time limit of 0."""

import io
import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.shell import DEADLINE, LUME, TIED, Shell
from click.testing import CliRunner
from local.flows import PEOPLE_CSV

from lume_async import InvalidRequestError
from lume_cli._app import app
from lume_cli._options import GlobalOptions
from lume_cli._output.text import short
from lume_cli._session import CommandSession
from lume_cli._work import run_ids
from lume_sync import Client, LumeRun


@pytest.fixture
def ended(source: Callable[..., str], client: Client) -> list[str]:
    runs = [client.run("people:v1", source()) for _ in range(3)]
    return [outcome.run.id for outcome in client.wait_all(runs, timeout=15) if outcome.run]


def pipe(shell: Shell, script: str) -> subprocess.CompletedProcess[str]:
    """A pipe of commands, in a real shell."""
    return subprocess.run(
        [*TIED, "bash", "-o", "pipefail", "-c", script.replace("lume ", f"{shlex.join(LUME)} ")],
        cwd=shell.folder,
        env=shell.variables,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def read(text: str, *given: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the words of a command line and stdin are as ids."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    return run_ids.run_ids(CommandSession(GlobalOptions()), given)


def test_stdin_is_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeffrun_1\r\n\n  # the second is there twice\nrun_2\n run_1 \nrun_3"
    assert read(text, "run_0", "-", "run_2", monkeypatch=monkeypatch) == ["run_0", "run_1", "run_2", "run_3"]


def test_the_number_of_runs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_ids, "MOST", 2)
    assert len(read("a\nb\na\n", "-", monkeypatch=monkeypatch)) == 2
    with pytest.raises(Exception, match="more than 2 runs: pass fewer"):
        read("a\nb\nc\n", "-", monkeypatch=monkeypatch)


def test_a_line_that_is_no_id_is_told_with_its_number(no_server: Path) -> None:
    for line in ("run_1 SUCCEEDED", "../x", "x" * 129, "x" * 10_000, "\udc80", "\0"):
        stdin = f"run_1\n\n{line}\n".encode("utf-8", "surrogateescape")
        for command in ("status", "wait", "watch", "show", "cancel"):
            result = CliRunner().invoke(app, [command, "-"], input=stdin)
            assert (result.exit_code, result.stdout) == (2, ""), line
            assert "stdin:3: invalid run ID" in result.stderr
            assert InvalidRequestError.__name__ not in result.stderr


def test_stdin_holds_the_key_or_the_ids(no_server: Path) -> None:
    result = CliRunner().invoke(app, ["wait", "-", "--api-key-stdin"], input="key\nrun_1\n")
    assert result.exit_code == 2
    assert "use LUME_API_KEY" in result.stderr


@pytest.mark.parametrize(
    ("command", "output"),
    [("status", "table"), ("wait", "json"), ("watch", "ndjson"), ("show", "json"), ("cancel", "table")],
)
def test_no_ids_on_stdin_is_nothing_to_do(shell: Shell, command: str, output: str) -> None:
    done = shell.lume(command, "-", "-o", output, stdin="# none\n")
    assert done.code == 0
    assert done.out == ("[]\n" if output == "json" else "")
    assert done.err == ("no run ids on stdin; nothing to do\n" if output == "table" else "")


def test_ids_from_a_pipe(shell: Shell, ended: list[str]) -> None:
    for command in ("status", "wait", "watch", "show", "cancel"):
        done = shell.lume(command, "-", "-o", "ndjson", stdin="\n".join([*ended, ended[0]]))
        assert done.code == 0, done.err
        assert sorted(json.loads(line)["id"] for line in done.out.splitlines()) == sorted(ended)


@pytest.mark.thorough
def test_listed_ids_are_watched(shell: Shell, source: Callable[..., str], client: Client) -> None:
    name = source()
    runs = [client.run("people:v1", name, force_rerun=True).wait(10) for _ in range(2)]
    runs.append(client.run("people:v1", name, force_rerun=True))
    done = pipe(shell, f"lume list --source {name} -o ids | lume watch -")
    assert done.returncode == 0, done.stderr
    ends = [line.split()[2] for line in done.stdout.splitlines() if line.endswith("SUCCEEDED")]
    assert sorted(ends) == sorted(short(run.id) for run in runs)
    none = pipe(shell, f"lume list --source {name} --status CRASHED -o ids | lume watch -")
    assert (none.returncode, none.stdout) == (0, "")


@pytest.mark.thorough
def test_a_run_prints_its_bare_id(shell: Shell, source: Callable[..., str], client: Client) -> None:
    done = pipe(shell, f"lume run people:v1 {source()} -o ids | lume wait - -o json")
    assert done.returncode == 0, done.stderr
    assert [run["status"] for run in json.loads(done.stdout)] == ["SUCCEEDED"]
    waited = shell.lume("run", "people:v1", source(), "-o", "ids", "--wait")
    assert client.run_status(waited.out.removesuffix("\n")).is_terminal
    assert "SUCCEEDED in" in waited.err


def test_bare_ids_are_for_list_and_run(no_server: Path) -> None:
    for words in (["-o", "ids", "status", "run_1"], ["wait", "run_1", "-o", "ids"], ["run", "-o", "sources"]):
        result = CliRunner().invoke(app, words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "Usage:" in result.stderr


@pytest.mark.thorough
def test_failed_sources_are_run_again(
    shell: Shell, source: Callable[..., str], home: Path, client: Client
) -> None:
    one, two = late = sorted([source(), source()])
    for name in late:
        (home / name).unlink()
    for name in (one, two, one, "#late.csv"):
        client.wait_all([client.run("people:v1", name)], timeout=15)
    listed = shell.lume("list", "--status", "failed", "--limit", "4", "-o", "sources")
    assert (listed.code, sorted(listed.out.split())) == (0, late)
    assert "warning: omitted, since it can't be written on one line of a list: '#late.csv'" in listed.err
    for name in late:
        (home / name).write_text(PEOPLE_CSV)
    script = "lume list --status FAILED --limit 4 -o sources | lume backfill people:v1 --from-file -"
    done = pipe(shell, script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 outcomes: SUCCEEDED 2\n")


@pytest.mark.thorough
def test_a_list_that_was_cut_unasked_says_so(shell: Shell, client: Client) -> None:
    for n in range(50):
        client.run("people:v1", f"nobody_{n}.csv")
    cut = shell.lume("list", "-o", "ids")
    assert len(cut.out.split()) == 50
    assert "showing the newest 50; there may be more" in cut.err
    assert shell.lume("list", "-o", "ids", "--limit", "50").err == ""


def test_several_runs_are_shown_one_below_the_other(shell: Shell, ended: list[str]) -> None:
    pages = shell.lume("show", *ended).out.split("\n\n")
    assert [page.split()[1] for page in pages] == ended
    one, many, listed = (
        json.loads(shell.lume("show", *words, "-o", "json", stdin=ended[0]).out)
        for words in (ended[:1], ended, ["-"])
    )
    assert one["id"] == ended[0]
    assert [run["id"] for run in many] == ended
    assert listed == [one]


@pytest.mark.thorough
@pytest.mark.parametrize("command", ["watch"])
def test_a_time_limit_of_0_is_one_look(
    shell: Shell, slow_run: LumeRun, ended: list[str], command: str
) -> None:
    done = shell.lume(command, *ended, "--timeout", "0", "-o", "json")
    assert (done.code, done.err) == (0, "")
    assert [run["status"] for run in json.loads(done.out)] == ["SUCCEEDED"] * 3
    late = shell.lume(command, slow_run.id, ended[0], "--timeout", "0", "-o", "json")
    assert late.code == 124
    assert json.loads(late.err)["error"]["code"] == "run_timeout"
    assert {run["id"] for run in json.loads(late.out)} == {slow_run.id, ended[0]}
    unknown = shell.lume(command, "run_unknown", "--timeout", "0")
    assert unknown.code == 1


def test_one_look_of_watch_for_people(shell: Shell, slow_run: LumeRun) -> None:
    done = shell.screen("watch", slow_run.id, "--timeout", "0", width=200, NO_COLOR="1")
    assert done.code == 124
    assert (
        f"not all runs finished within 0 s: the run keeps running; resume with `lume wait {short(slow_run.id)}`"
        in done.out
    )
    assert short(slow_run.id) in done.out[done.out.rindex("RUN") :]
