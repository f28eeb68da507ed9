"""A server that does not respond, or fails: said within 3 s, with why, and again when it is back."""

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from cli.shell import Shell
from local.flows import PEOPLE_CSV
from loopback import Loopback, Request, Step, reply

import lume_local
from lume_async import RequestFinished, RequestStarted, RetryScheduled, RunRequest
from lume_async.testing import run_json
from lume_cli._health import HealthCheck
from lume_cli._options import Format, GlobalOptions
from lume_cli._output.stderr import Say
from lume_cli._server_watch import ServerWatch
from lume_cli._session import CommandSession
from lume_cli._work.backfill import Backfill, Paths

STARTED = RequestStarted("GET /v1/runs/{id}", 1)
REFUSED = RequestFinished("GET /v1/runs/{id}", 1, 0.1, error="ApiConnectionError")
ANSWERED = RequestFinished("GET /v1/runs/{id}", 1, 0.1, status_code=200)


class Watched:
    """A `ServerWatch` on a clock that moves a quarter of a second with each of its checks."""

    def __init__(self, capsys: pytest.CaptureFixture[str], output: Format = "table") -> None:
        self.now, self.health, self.checks = 0.0, list[str | None](), 0
        self.watch = ServerWatch("http://lume", Say(output), self.check, lambda: self.now)
        self._capsys = capsys

    async def check(self) -> str | None:
        self.checks += 1
        self.now += 1.5 if self.health and self.health[0] else 0.0
        return self.health.pop(0) if self.health else None

    async def until(self, seconds: float) -> str:
        """What it has said by then."""

        async def sleep(delay: float) -> None:
            self.now += delay
            await anyio.lowlevel.checkpoint()
            if self.now > seconds:
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("lume_cli._server_watch.anyio.sleep", sleep)
                await self.watch.run()
        return self._capsys.readouterr().err


async def test_a_refused_connection_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(capsys)
    watched.health = ["does not respond (nothing is listening there)"]
    watched.watch.on_event(STARTED)
    watched.watch.on_event(REFUSED)
    said = await watched.until(3.0)
    assert said == (
        "warning: http://lume does not respond (nothing is listening there); still trying, Ctrl-C to stop\n"
    )
    assert watched.watch.trouble == "does not respond (nothing is listening there)"


async def test_a_server_that_hangs_is_found_by_a_health_check(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(capsys)
    watched.health = ["does not respond (no response within 1.5 s)"] * 9
    watched.watch.on_event(STARTED)
    assert "does not respond (no response within 1.5 s)" in await watched.until(3.0)


async def test_a_long_poll_is_no_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(capsys)
    watched.watch.on_event(STARTED)
    assert await watched.until(30.0) == ""
    assert 10 < watched.checks < 31


async def test_a_failure_that_a_retry_gets_over_is_not_worth_a_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched = Watched(capsys)
    for event in (STARTED, REFUSED, STARTED, ANSWERED):
        watched.watch.on_event(event)
    assert await watched.until(10.0) == ""


async def test_it_says_when_the_server_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(capsys, "ndjson")
    watched.watch.on_event(STARTED)
    watched.watch.on_event(REFUSED)
    first = await watched.until(3.0)
    assert "does not respond (ApiConnectionError)" in json.loads(first)["warning"]["message"]
    watched.watch.on_event(ANSWERED)
    assert watched.watch.trouble is None
    assert json.loads(capsys.readouterr().err)["warning"]["message"] == "http://lume responds again"


FULL = RequestFinished("POST /v1/runs", 1, 0.1, status_code=507)
WHY = "POST /v1/runs: 507 Insufficient Storage: the disk is full [request id r1]"


async def test_a_server_that_fails_does_respond(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(capsys)
    for event in (STARTED, FULL, RetryScheduled("POST /v1/runs", 1, 60.0, WHY)):
        watched.watch.on_event(event)
    assert await watched.until(3.0) == (
        f"warning: http://lume responds with an error ({WHY}); still trying, Ctrl-C to stop\n"
    )
    watched.watch.on_event(ANSWERED)
    assert capsys.readouterr().err == "warning: http://lume works again\n"


async def test_a_status_is_said_where_no_more_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    watched = Watched(capsys)
    watched.watch.on_event(STARTED)
    watched.watch.on_event(FULL)
    assert "http://lume responds with status 507; still trying" in await watched.until(3.0)


async def test_the_health_check_says_what_was_the_answer() -> None:
    answers = [
        reply(503, {"detail": "the disk is full"}),
        reply(502, b"<h1>Bad gateway</h1>", headers={"Content-Type": "text/html"}),
        reply(200, {"status": "ok"}),
    ]
    async with Loopback(answers) as server, HealthCheck(server.url) as health:
        found = [await health.check() for _ in answers]
    assert found == ["responds with status 503 (the disk is full)", "responds with status 502", None]


async def test_a_batch_says_what_a_server_without_room_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUME_API_KEY", "k")
    (tmp_path / "paths.txt").write_text("a.csv\nb.csv\nc.csv\n")
    is_full, said = True, ""

    def answer(request: Request) -> Step:
        if request.path == "/healthz":
            return reply(200, {"status": "ok"})
        if is_full:
            return reply(507, {"type": "urn:lume:problem:storage-full", "detail": "the disk is full"})
        return reply(201 if request.method == "POST" else 200, run_json("r1", "SUCCEEDED"))

    async with Loopback(answer) as server:
        paths = Paths(str(tmp_path / "paths.txt"), lambda path: RunRequest("f:v1", path))
        monkeypatch.setenv("LUME_BASE_URL", server.url)
        session = CommandSession(GlobalOptions())
        backfill = Backfill(session, paths, paths.count(), allow_partial=False)
        async with session.client() as client, anyio.create_task_group() as tasks:

            async def work() -> None:
                await backfill.until_ended(
                    client, max_active=1, journal=None, retry_failed=False, on_duplicate="raise", timeout=None
                )

            tasks.start_soon(work)
            with anyio.fail_after(20):
                while "still trying" not in said:
                    await anyio.sleep(0.01)
                    said += capsys.readouterr().err
            is_full = False
    assert (
        f"{server.url} responds with an error (POST /v1/runs: 507 Insufficient Storage: the disk is full"
        in said
    )
    assert "does not respond" not in said
    assert f"{server.url} works again" in capsys.readouterr().err


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port that nobody listens on, for as long as the test lasts."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def mute() -> Iterator[str]:
    """The URL of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.thorough
def test_a_server_that_is_down(shell: Shell, nobody: str) -> None:
    done = shell.lume("--base-url", nobody, "watch", "run_1", "--timeout", "3")
    assert done.code == 124
    assert f"{nobody} does not respond (nothing is listening there)" in done.err
    assert done.err.rstrip().endswith("the server does not respond (nothing is listening there)")


@pytest.mark.thorough
def test_an_interrupt_claims_nothing_about_runs_of_a_server_that_is_away(shell: Shell, nobody: str) -> None:
    started = shell.start("--base-url", nobody, "wait", "run_1", "run_2")
    started.until(lambda: "still trying" in started.err)
    started.signal(signal.SIGTERM)
    done = started.end()
    assert done.code == 143
    said = "so it is not known whether 2 runs are still running"
    assert f"{said}; resume with `lume --base-url {nobody} wait run_1" in done.err
    assert "keep" not in done.err


@pytest.mark.thorough
@pytest.mark.parametrize("words", [("list",), ("wait", "run_1")])
def test_a_server_that_hangs(shell: Shell, mute: str, words: tuple[str, ...]) -> None:
    started = shell.start("--base-url", mute, *words)
    started.until(lambda: f"{mute} does not respond (no response within 1.5 s)" in started.err)


@pytest.mark.thorough
def test_a_run_that_is_waited_for_is_submitted_once_the_server_is_there(lone: Shell, home: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    variables = {"LUME_BASE_URL": f"http://127.0.0.1:{port}", "LUME_API_KEY": "key-of-the-server"}
    with lone:
        started = lone.start("run", "people:v1", "late.csv", "--wait", **variables)
        started.until(lambda: "does not respond (nothing is listening there); still trying" in started.err)
        (home / "late.csv").write_text(PEOPLE_CSV)
        with lume_local.serve_in_thread(
            home / "flows", home / ".late", [home], port=port, api_key="key-of-the-server"
        ):
            done = started.end()
    assert done.code == 0
    assert "responds again" in done.err
    assert "SUCCEEDED" in done.err


@pytest.mark.thorough
def test_a_run_that_can_not_be_submitted_says_why_at_the_timeout(lone: Shell, nobody: str) -> None:
    command = ("--base-url", nobody, "run", "a:v1", "a.csv")
    late = lone.lume(*command, "--wait", "--timeout", "3", LUME_API_KEY="k")
    assert late.code == 124
    assert (
        "timed out; no run was submitted: the server does not respond (nothing is listening there)"
        in late.err
    )
    at_once = lone.lume(*command, LUME_API_KEY="k")
    assert at_once.code == 1
    assert "Cannot connect to host" in at_once.err
