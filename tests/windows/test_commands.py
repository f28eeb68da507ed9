"""The command line on Windows, or in an interpreter like it."""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from on_posix import IS_POSIX
from sync.service import Service, serving

from lume_cli import _loop, _streams
from lume_cli._app import app
from lume_cli._output.stderr import Say
from lume_cli._output.stdout import writing

pytestmark = pytest.mark.skipif(IS_POSIX, reason="for Windows, or `nox -s client`")

NEEDS = "error: the embedded server needs Linux or macOS (WSL, Docker)"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("LUME_API_KEY", "test-key")
    with serving() as running:
        monkeypatch.setenv("LUME_BASE_URL", running.url)
        yield running


def lume(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, words, input=stdin)


def test_the_interpreter_is_one_of_windows_or_like_it() -> None:
    assert not hasattr(signal, "SIGPIPE")
    with pytest.raises(ImportError):
        import fcntl  # noqa: F401


@pytest.mark.usefixtures("service")
def test_runs_are_submitted_followed_and_shown() -> None:
    done = lume("run", "f:v1", "customers", "--wait")
    assert (done.exit_code, done.stdout) == (0, "done-customers\n"), done.stderr


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("words", [["status", "done-1"], ["wait", "done-1"], ["show", "done-1"], ["list"]])
def test_commands_that_read(words: list[str]) -> None:
    done = lume(*words)
    assert done.exit_code == 0, done.output


def test_a_backfill_from_stdin_goes_on_where_it_was(service: Service, tmp_path: Path) -> None:
    words = ("backfill", "f:v1", "--from-file", "-", "--journal", "state.db")
    for _time in range(2):
        done = lume(*words, stdin="a\nb\n")
        assert done.exit_code == 0, done.output
        assert "2 outcomes: SUCCEEDED 2" in done.output
    assert service.count("done-a") == 2, "one submission, and one look"
    assert [one.name for one in tmp_path.iterdir()] == ["state.db"]


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["flow", "check", "f.toml"],
        ["flow", "try", "f.toml", "f.toml"],
        ["flow", "init", "f.toml"],
    ],
)
def test_what_needs_the_embedded_server_says_so(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.toml").write_text('flow = "f"\n')
    done = lume(*words)
    assert (done.exit_code, done.stderr[: len(NEEDS)]) == (1, NEEDS), done.stderr


def test_for_scripts_that_is_an_error_code() -> None:
    done = lume("serve", "-o", "json")
    assert (done.exit_code, json.loads(done.stderr)["error"]["code"]) == (1, "unsupported_platform")


def test_the_table_of_a_flow_needs_no_server(tmp_path: Path) -> None:
    file = tmp_path / "f.v1.toml"
    file.write_text('flow = "f"\nversion = "v1"\n[columns.name]\nsql = "name"\n')
    done = lume("flow", "ddl", str(file), "--for", "sqlite")
    assert done.exit_code == 0, done.output
    assert "CREATE TABLE IF NOT EXISTS" in done.stdout


def test_ctrl_c_ends_a_command_in_order() -> None:
    ended = []

    async def work() -> int:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(True)
        return 0

    with pytest.raises(_loop.Interrupted) as caught:
        _loop.run(work())
    assert (caught.value.exit_code, ended) == (130, [True])


def test_a_reader_that_has_ended_is_a_broken_pipe() -> None:
    """Windows calls it a wrong argument."""
    with pytest.raises(BrokenPipeError), writing():
        raise OSError(22, "Invalid argument")
    with pytest.raises(BrokenPipeError), _streams.broken_pipes():
        raise OSError(22, "Invalid argument")


@pytest.mark.thorough
def test_a_terminal_without_a_name_shows_displays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TERM", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert Say("table").is_lively
    monkeypatch.setenv("TERM", "dumb")
    assert not Say("table").is_lively
