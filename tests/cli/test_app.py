"""The command line itself: help, usage errors, durations, completion; no server is needed."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from cli.shell import Shell
from click.testing import CliRunner

import lume_local
from lume_async._base.extras import install_command
from lume_cli._app import _COMMANDS, app
from lume_cli._options import Seconds

HEAVY = (
    "aiohttp",
    "rich",
    "lume_async",
    "lume_local",
    "duckdb",
    "attrs",
    "asyncio",
    "pathlib",
    "lume_cli.commands",
)


def test_help_loads_nothing_heavy(lone: Shell) -> None:
    script = (
        "import sys; before = set(sys.modules); from lume_cli import main\n"
        "try: main()\n"
        "finally: print(*(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--help"],
        env=lone.variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not set(HEAVY) & set(done.stderr.split())
    assert "lume_cli._app" in done.stderr
    assert all(f"\n  {name} " in done.stdout for name in _COMMANDS)


def test_every_command_has_help_with_an_example() -> None:
    runner, context = CliRunner(), click.Context(app)
    for name in app.list_commands(context):
        command = app.get_command(context, name)
        assert command is not None
        names = [[name, one] for one in command.commands] if isinstance(command, click.Group) else [[name]]
        for words in names:
            result = runner.invoke(app, [*words, "--help"])
            assert result.exit_code == 0
            assert f"lume {' '.join(words)}" in result.stdout.partition("Options:")[0].split("\n\n", 1)[1], (
                words
            )


@pytest.mark.parametrize(
    "command",
    [
        ["run", "people:v1"],
        ["status"],
        ["nonsense"],
        ["list", "--limit", "0"],
        ["run", "a:v1", "b", "--metadata", "no-equals"],
        ["run", "a:v1", "b", "--metadata", "k=1", "--metadata", "k=2"],
        ["run", "a:v1", "b", "--timeout", "5"],
        ["wait", "r", "--timeout", "-1"],
        ["wait", "r", "--timeout", "soon"],
        ["-o", "yaml", "list"],
        ["-p", "missing", "list"],
        ["backfill", "a:v1", "--from-file", "-", "--api-key-stdin"],
        ["backfill", "a:v1", "--from-file", "no_such_file"],
        ["webhook", "verify", "--signature", "x", "--secret-env", "NOT_SET"],
    ],
)
def test_wrong_usage_is_2_and_nothing_goes_to_stdout(no_server: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    as_json = CliRunner().invoke(app, ["--json", *command])
    if command[:2] != ["-o", "yaml"]:
        assert json.loads(as_json.stderr)["error"]["code"] == "usage"


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["backfil"], "Did you mean 'backfill'?"),
        (["list", "--status", "PARTIALFAILED"], "did you mean PARTIAL_FAILED?"),
        (["list", "--status", "succeded"], "did you mean SUCCEEDED?"),
        (["nonsense"], "No such command 'nonsense'."),
    ],
)
def test_slips_are_told(no_server: Path, command: list[str], meant: str) -> None:
    result = CliRunner().invoke(app, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert meant in " ".join(result.stderr.split())


def test_a_status_of_a_newer_server_is_asked_for(no_server: Path) -> None:
    result = CliRunner().invoke(app, ["list", "--status", "PAUSED"])
    assert (result.exit_code, "no base URL" in result.stderr) == (1, True)


def test_a_missing_key_is_4_and_a_missing_url_is_1(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["list"])
    assert (result.exit_code, "LUME_BASE_URL" in result.stderr) == (1, True)
    monkeypatch.setenv("LUME_BASE_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(app, ["list", "--json"])
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["code"]) == (4, "missing_key")
    assert "LUME_API_KEY" in error["message"]


@pytest.mark.parametrize("run", ["../x", "x" * 129])
def test_what_can_be_no_run_id_is_wrong_usage(lone: Shell, run: str) -> None:
    done = lone.lume("status", run, LUME_API_KEY="k", LUME_BASE_URL="http://127.0.0.1:9")
    assert (done.code, done.out) == (2, "")


@pytest.mark.thorough
def test_no_server_is_an_error_that_may_pass(lone: Shell) -> None:
    done = lone.lume("status", "r1", "-o", "json", LUME_API_KEY="k", LUME_BASE_URL="http://127.0.0.1:9")
    error = json.loads(done.err.splitlines()[-1])["error"]  # on a busy machine after a warning
    assert (done.code, error["code"], error["retryable"]) == (1, "api_connection", True)
    assert error["request_id"] is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90.0),
        ("1.5", 1.5),
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("0", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert Seconds().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "nan", "inf", "-1", "1w", "1e999"])
def test_no_durations(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Seconds().convert(text, None, None)


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete"), ("zsh", "compdef"), ("fish", "complete")])
def test_completion_scripts(shell: str, word: str) -> None:
    result = CliRunner().invoke(app, ["completion", shell])
    assert result.exit_code == 0
    assert word in result.stdout
    assert "_LUME_COMPLETE" in result.stdout


def test_completion_knows_the_commands(lone: Shell) -> None:
    done = lone.lume(_LUME_COMPLETE="bash_complete", COMP_WORDS="lume wa", COMP_CWORD="1")
    assert done.out.split() == ["plain,wait", "plain,watch"]


@pytest.mark.parametrize("name", ["click", pytest.param("simplejson", marks=pytest.mark.thorough)])
def test_a_missing_extra_is_named(lone: Shell, name: str) -> None:
    script = (
        "import importlib.util as util, sys\n"
        "find = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {name!r} else find(name, *rest)\n"
        "from lume_cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], env=lone.variables, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"lume: the command needs {name}: {install_command('cli')}\n"


@pytest.mark.parametrize("command", [["serve"], ["flow", "check", __file__]])
def test_a_missing_duckdb_is_named(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    for name in lume_local.__all__:
        monkeypatch.delitem(vars(lume_local), name, raising=False)
    for name in ("flow_check", "serving"):
        monkeypatch.delitem(sys.modules, f"lume_local.commands.{name}", raising=False)
        monkeypatch.delattr(f"lume_local.commands.{name}", raising=False)
    wanted = install_command(name="lume-local")
    monkeypatch.setattr(
        "lume_async._base.extras.find_spec", lambda name: None if name == "duckdb" else find_spec(name)
    )
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    assert f"error: lume_local needs duckdb: {wanted}" in result.stderr


@pytest.mark.parametrize(
    ("command", "shown"),
    [("run", "[table|json|ndjson|ids]"), ("resubmit", "[table|json|ndjson|ids]"), ("list", "|ids|sources]")],
)
def test_the_help_has_the_formats_of_the_command(command: str, shown: str) -> None:
    text = CliRunner().invoke(app, [command, "--help"]).stdout
    assert shown in text
    assert "csv" not in text.partition("--output")[2].partition("--json")[0].lower()


WITHOUT_SERVER = """
import importlib.util, importlib.metadata, sys
sys.modules["lume_local"] = None
find_spec, distribution = importlib.util.find_spec, importlib.metadata.distribution

def missing(name):
    if name == "lume-local":
        raise importlib.metadata.PackageNotFoundError(name)
    return distribution(name)

importlib.util.find_spec = lambda name, *more: None if name == "lume_local" else find_spec(name, *more)
importlib.metadata.distribution = missing
from lume_cli import main
main()
"""


def test_without_the_server_its_commands_say_what_to_install_and_help_has_none_of_them(lone: Shell) -> None:
    done = without_server(lone, "flow", "try", "a.toml", "a.csv")
    wanted = install_command(name="lume-local")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: `lume flow try` comes with the server: {wanted}\n"
    shown = without_server(lone, "--help").stdout
    assert "\n  run " in shown
    assert "\n  serve " not in shown
    # A command of the client works; there is no server that it could find.
    done = without_server(lone, "list")
    assert (done.returncode, "no base URL" in done.stderr) == (1, True)


def without_server(shell: Shell, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_SERVER, *words]
    return subprocess.run(command, env=shell.variables, capture_output=True, text=True, timeout=30)
