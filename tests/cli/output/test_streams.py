"""Streams that are closed, full, or not in UTF-8: no traceback, nothing lost unsaid. All in real processes."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli.shell import DEADLINE, LUME, TIED, Done, Shell

from lume_sync import Client

NO_READER = "exec 3> >(true); wait $!"
"""A pipe whose reader is gone."""


def bash(shell: Shell, script: str) -> Done:
    """A script in a real shell; what it prints as the bytes are, one character each."""
    lume = shlex.join(LUME)
    done = subprocess.run(
        [*TIED, "bash", "-c", f'lume() {{ {lume} "$@"; }}; {script}'],
        cwd=shell.folder,
        env=shell.variables,
        capture_output=True,
        timeout=DEADLINE,
    )
    return Done(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"))


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("where", "why"), [(">&-", "it is closed"), ("> /dev/full", "No space left on device")]
)
def test_a_run_whose_id_can_not_be_printed_is_named_all_the_same(
    shell: Shell, source: Callable[..., str], client: Client, where: str, why: str
) -> None:
    name = source()

    done = bash(shell, f"lume run people:v1 {name} {where}")

    (run,) = client.list_runs(source_path=name)
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: can't write to stdout: {why}",
        f"  hint: run {run.id} was submitted and keeps running: `lume wait {run.id}`",
    ]


@pytest.mark.thorough
def test_in_json_too(shell: Shell, source: Callable[..., str], client: Client) -> None:
    name = source()

    done = bash(shell, f"lume run people:v1 {name} -o json --wait > /dev/full")

    (run,) = client.list_runs(source_path=name)
    (line,) = done.err.splitlines()
    error = json.loads(line)["error"]
    assert (done.code, error["code"], error["run_id"]) == (1, "output", run.id)
    assert f"run {run.id} was submitted" in error["hint"]
    assert f"`lume show {run.id}`" in error["hint"]


@pytest.mark.parametrize("how", ["", "-o json --wait", "-o ndjson --wait"])
def test_a_run_whose_id_nobody_reads_is_named_all_the_same(
    shell: Shell, source: Callable[..., str], client: Client, how: str
) -> None:
    name = source()

    done = bash(shell, f"{NO_READER}; lume run people:v1 {name} {how} >&3")

    (run,) = client.list_runs(source_path=name)
    assert done.code == 141
    assert f"the reader of stdout has ended; run {run.id} was submitted" in done.err


@pytest.mark.parametrize(
    "command",
    ["list", "list -o json", "completion bash", "flow init people.csv", "--version"],
)
def test_a_full_disk_behind_stdout(
    shell: Shell, source: Callable[..., str], client: Client, command: str
) -> None:
    client.run("people:v1", source()).wait()
    (shell.folder / "people.csv").write_text("id,name\n1,Ada\n")

    done = bash(shell, f"lume {command} > /dev/full")

    assert done.code == 1
    assert done.err.count("can't write to stdout: No space left on device") == 1
    assert "unexpected" not in done.err
    assert "Exception ignored" not in done.err


def test_a_key_that_can_not_be_shown_is_not_made(shell: Shell) -> None:
    assert bash(shell, "lume key new ann --role read > /dev/full").code == 1
    assert not (shell.folder / "keys.toml").exists()


@pytest.mark.thorough
def test_closed_stdin_and_stderr(shell: Shell, source: Callable[..., str], client: Client) -> None:
    run = client.run("people:v1", source()).wait()

    assert bash(shell, f"lume status {run.id} 2>&- <&-").out.splitlines()[1].startswith(run.id[4:12])
    assert bash(shell, "lume show - <&-").err == "no run ids on stdin; nothing to do\n"
    assert bash(shell, "lume status nosuchrun 2>&-").code == 1


@pytest.mark.parametrize(
    ("where", "command", "code"),
    [
        ("2>/dev/full", "list --limit 0", 2),
        ("2>&3", "nosuch", 2),
        ("2>&3", "flow init people.csv -o flows/", 0),
    ],
)
def test_a_stderr_that_takes_nothing_changes_no_exit_code(
    shell: Shell, where: str, command: str, code: int
) -> None:
    (shell.folder / "people.csv").write_text("id,name\n1,J\xfcrgen\n", encoding="latin-1")
    command = command.replace("people.csv", "people.csv --encoding latin-1")

    done = bash(shell, f"{NO_READER}; lume {command} {where}")

    assert (done.code, done.out) == (code, "")
    assert (shell.folder / "flows" / "people.v1.toml").exists() is (code == 0)


@pytest.mark.thorough
def test_a_server_needs_no_stdout(shell: Shell) -> None:
    script = f"""
        {shlex.join(LUME)} serve --no-flows --data served > /dev/full 2>said & server=$!
        until grep -q LUME_API_KEY said || ! kill -0 $server; do sleep 0.05; done
        kill $server; wait $server; code=$?; cat said; exit $code
    """

    done = bash(shell, script)

    assert done.code == 0, done.err
    url = json.loads((shell.folder / "served" / "state" / "server.json").read_text())["base_url"]
    assert f"; serving at {url}\n" in done.out
    assert "warning: can't write to stdout: " in done.out


def test_no_other_file_takes_the_place_of_a_closed_stream(shell: Shell, tmp_path: Path) -> None:
    program = "import os\nfrom lume_cli._streams import prepare\nprepare()\nos._exit(os.open(os.devnull, 0))"

    done = bash(shell, f"{shlex.quote(sys.executable)} -c {shlex.quote(program)} <&- >&- 2>&-")

    assert done.code > 2


@pytest.mark.thorough
def test_what_an_encoding_has_no_character_for_is_escaped_and_never_in_what_a_command_reads(
    shell: Shell, home: Path, client: Client
) -> None:
    name = "k\u00fcn\u20acde.csv"
    (home / name).write_text("id\n1\n")
    client.wait_all([client.run("people:v1", name)])  # it fails: for lack of columns
    list_one = f"lume list --source {name}"

    shown = bash(shell, f"PYTHONIOENCODING=latin-1 {list_one}")
    piped = bash(shell, f"PYTHONIOENCODING=ascii {list_one} -o sources")
    made = bash(shell, f"PYTHONIOENCODING=cp1252 lume flow init {shlex.quote(str(home / name))} --name f")

    assert shown.out.rstrip().endswith("k\u00fcn\\u20acde.csv")
    assert piped.out.encode("latin-1").decode() == f"{name}\n"
    assert name in made.out.encode("latin-1").decode()
    assert (shown.code, piped.code, made.code) == (0, 0, 0)


@pytest.mark.thorough
def test_a_reader_that_has_seen_enough(shell: Shell, source: Callable[..., str], client: Client) -> None:
    client.run("people:v1", source()).wait()

    done = bash(
        shell, "{ lume list; echo $? >&2; } | true; { lume show nosuchrun 2>&1; echo $? >&2; } | true"
    )

    assert done.err.splitlines() == ["141", "1"]
