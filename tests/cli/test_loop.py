"""Ctrl-C and SIGTERM: the runs go on, and the command that resumes is printed."""

import asyncio
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from cli.shell import Shell, Started

from lume_cli import _loop
from lume_cli._output.text import short
from lume_sync import Client, LumeRun


def test_an_interrupted_run_goes_on(shell: Shell, slow_source: Callable[[], str], client: Client) -> None:
    started = shell.start("run", "slow:v1", slow_source(), "--wait")
    started.until(lambda: "TRANSFORMING" in started.err)
    started.signal(signal.SIGTERM)
    done = started.end()
    run_id = done.out.strip()
    assert done.code == 143
    assert done.err.endswith(f"the run keeps running; resume with `lume wait {short(run_id)}`\n")
    assert not client.run_status(run_id).is_terminal


def test_an_interrupted_wait_names_what_is_unfinished(
    shell: Shell, slow_run: LumeRun, client: Client
) -> None:
    ended = client.run("people:v1", "none.csv", force_rerun=True)
    started = shell.start("-o", "ndjson", "wait", ended.id, slow_run.id)
    started.until(lambda: ended.id in started.out)
    started.signal(signal.SIGINT)
    done = started.end()
    error = json.loads(done.err)["error"]
    assert (done.code, error["code"], error["resume"]) == (130, "interrupted", f"lume wait {slow_run.id}")


def test_an_interrupted_watch_resumes_with_the_same_service(shell: Shell, slow_run: LumeRun) -> None:
    url = shell.variables.pop("LUME_BASE_URL")
    started = shell.start("--base-url", url, "watch", slow_run.id)
    started.until(lambda: short(slow_run.id) in started.out)
    started.signal(signal.SIGTERM)
    done = started.end()
    assert done.code == 143
    assert f"resume with `lume --base-url {url} wait {short(slow_run.id)}`" in done.err


@pytest.mark.thorough
def test_a_background_job_that_ignores_ctrl_c_goes_on_ignoring_it(shell: Shell, slow_run: LumeRun) -> None:
    script = f"trap '' INT; exec {shlex.join([sys.executable, '-m', 'lume_cli', '-v', 'wait', slow_run.id])}"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], env=shell.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        started = Started(process)
        started.until(lambda: "GET /v1/runs" in started.err)
        started.signal(signal.SIGINT)
        slow_run.cancel()
        done = started.end()
    assert (done.code, "CANCELLED" in done.out) == (6, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_no_loop_needs_to_handle_signals(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """As that of Windows can't."""

    def refuse(*_arguments: object) -> None:
        raise NotImplementedError

    async def work() -> int:
        signal.raise_signal(number)
        await asyncio.Event().wait()
        return 0

    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
    before = signal.getsignal(number)
    with pytest.raises(_loop.Interrupted) as caught:
        _loop.run(work())
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


STUBBORN = """
import asyncio
from lume_cli import _loop

async def work():
    try:
        print("working", flush=True)
        await asyncio.Event().wait()
    finally:
        print("cleaning", flush=True)
        await asyncio.Event().wait()

_loop.run(work())
"""


def test_a_second_ctrl_c_ends_the_process_at_once(shell: Shell) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN], env=shell.variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        started = Started(process)
        started.until(lambda: "working" in started.out)
        started.signal(signal.SIGINT)
        started.until(lambda: "cleaning" in started.out)
        started.signal(signal.SIGINT)
        assert started.end().code == 130
