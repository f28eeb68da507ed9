"""What a terminal shows: displays that leave nothing behind, plain text where it has to be plain."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli.shell import DEADLINE, Shell
from components import component
from local.flows import PEOPLE_CSV

from lume_cli._output.text import short
from lume_sync import Client, LumeRun

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ANY_ESCAPE = re.compile(r"\x1b")


def test_a_terminal_gets_colours(shell: Shell, source: Callable[..., str], client: Client) -> None:
    run = client.run("people:v1", source()).wait(10)
    done = shell.screen("status", run.id, width=200)
    assert done.code == 0
    assert COLOUR.search(done.out)
    assert short(run.id) in done.out


def test_no_colours_where_they_are_not_wanted(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    run = client.run("people:v1", source()).wait(10)
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        done = shell.screen("status", run.id, width=200, **variables)
        assert "SUCCEEDED" in done.out, variables
        assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", done.out)


def test_a_dumb_terminal_gets_lines_instead_of_a_display(shell: Shell, source: Callable[..., str]) -> None:
    done = shell.screen("run", "people:v1", source(), "--wait", TERM="dumb")
    assert done.code == 0
    assert not ANY_ESCAPE.search(done.out)
    assert "SUCCEEDED in" in done.out


def test_a_display_hides_and_shows_the_cursor_again(shell: Shell, source: Callable[..., str]) -> None:
    done = shell.screen("run", "people:v1", source(), "--wait")
    assert done.code == 0
    assert done.out.count("\x1b[?25l") == done.out.count("\x1b[?25h") == 1
    assert "SUCCEEDED in" in done.out


def test_a_narrow_terminal_loses_no_part_of_an_id(
    shell: Shell, source: Callable[..., str], client: Client
) -> None:
    run = client.run("people:v1", source()).wait(10)
    for command in ("status", "watch", "wait"):
        done = shell.screen(command, run.id, width=24, NO_COLOR="1")
        assert done.code == 0, command
        assert "Traceback" not in done.out
        table = done.out[done.out.rindex("RUN") :]  # the one that stays, below the display
        assert table.splitlines()[1].split()[0] == short(run.id)


def test_an_id_is_not_broken_where_the_terminal_is_wide_enough(
    shell: Shell, home: Path, client: Client
) -> None:
    name = f"{'long' * 30}.csv"
    (home / name).write_text(PEOPLE_CSV)
    run = client.run("people:v1", name, force_rerun=True).wait(10)
    assert name in shell.screen("status", run.id).out  # the terminal wraps it: no line break is in it
    for command in ("status", "watch", "wait"):
        done = shell.screen(command, run.id, width=100, NO_COLOR="1")
        table = done.out[done.out.rindex("RUN") :]
        assert [line.split()[0] for line in table.splitlines()[1:2]] == [short(run.id)], command


def test_tables_fit_into_80_columns(shell: Shell, home: Path, client: Client) -> None:
    (home / "customers.csv").write_text(PEOPLE_CSV)
    run = client.run("people:v1", "customers.csv", force_rerun=True).wait(10)
    for command in ("status", "watch"):
        done = shell.screen(command, run.id, NO_COLOR="1")
        table = COLOUR.sub("", done.out[done.out.rindex("RUN ") :]).splitlines()
        assert max(map(len, table)) < 80
        assert [line.split()[-1] for line in table] == ["SOURCE", "customers.csv"]


class Tmux:
    """One window of a tmux server of its own."""

    def __init__(self, socket: Path, environment: dict[str, str]) -> None:
        self._command = ["tmux", "-f", "/dev/null", "-S", str(socket)]
        self._environment = environment

    def call(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words], env=self._environment, capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def until(self, *texts: str) -> str:
        """The screen, once it shows the texts."""
        end = time.monotonic() + DEADLINE
        while not all(text in (screen := self.call("capture-pane", "-p")) for text in texts):
            assert time.monotonic() < end, screen
        return screen


@pytest.fixture
def tmux(shell: Shell, tmp_path: Path) -> Iterator[Tmux]:
    component("tmux")
    tmux = Tmux(tmp_path / "tmux", shell.variables | {"NO_COLOR": "1"})
    tmux.call("new-session", "-d", "-x", "70", "-y", "12", "/bin/sh")
    yield tmux
    tmux.call("kill-server")


@pytest.mark.thorough
def test_run_wait_in_a_real_terminal(tmux: Tmux, slow_source: Callable[[], str]) -> None:
    tmux.call(
        "send-keys", f"{sys.executable} -m lume_cli run slow:v1 {slow_source()} --wait; echo code=$?", "Enter"
    )
    assert len([line for line in tmux.until("TRANSFORMING").splitlines() if "TRANSFORMING" in line]) == 1
    tmux.call("send-keys", "C-c")
    screen = tmux.until("code=130", "the run keeps running; resume with `lume wait ")
    assert "TRANSFORMING" not in screen


@pytest.mark.thorough
def test_watch_in_a_real_terminal(
    tmux: Tmux, slow_run: LumeRun, source: Callable[..., str], client: Client
) -> None:
    done = client.run("people:v1", source())
    tmux.call(
        "send-keys",
        f"clear; {sys.executable} -m lume_cli watch {slow_run.id} {done.id}; echo code=$?",
        "Enter",
    )
    screen = tmux.until("RUN ", "ELAPSED", "1 of 2 runs finished", "SUCCEEDED", "0:02")
    assert (
        len([line for line in screen.splitlines() if line.startswith((short(slow_run.id), short(done.id)))])
        == 2
    )
    slow_run.cancel()
    tmux.until("code=6", "CANCELLED")


def type_in(tmux: Tmux, command: str) -> None:
    tmux.call("send-keys", f"clear; {sys.executable} -m lume_cli {command}; echo code=$?", "Enter")


@pytest.mark.thorough
def test_ids_that_are_typed(tmux: Tmux, source: Callable[..., str], client: Client) -> None:
    run = client.run("people:v1", source()).wait(10)
    type_in(tmux, "show -")
    tmux.until("reading run ids from the terminal, one per line")
    tmux.call("send-keys", run.id, "Enter", "C-d")
    tmux.until("code=0", "3 read, 3 mapped, 0 rejected")
    type_in(tmux, "wait -")
    tmux.until("reading run ids")
    tmux.call("send-keys", "C-c")
    tmux.until("code=130")


def test_a_receiver_whose_secret_is_typed(tmux: Tmux) -> None:
    type_in(tmux, "webhook listen --secret-stdin")
    tmux.until("Webhook secret:")
    tmux.call("send-keys", "whisper", "Enter")
    tmux.until("Use this webhook_url:", "  http://127.0.0.1:")
    tmux.call("send-keys", "C-c")
    screen = tmux.until("code=130", "interrupted: 0 verified")
    assert "whisper" not in screen
