"""`lume webhook listen`: what comes, what is refused, how it ends; with a real server as the sender."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cli.deliveries import BODY, SECRET, listen, send, signed
from cli.shell import DEADLINE, LUME, Shell, environment
from click.testing import CliRunner
from local.flows import PEOPLE_CSV, write_flows
from local.receiver import unused_port

import lume_local
from lume_cli._app import app
from lume_cli._options import GlobalOptions
from lume_cli._session import CommandSession
from lume_cli._work import webhook
from lume_cli._work.webhook import Listening
from lume_local._runs.deliveries import outbox


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Shell(tmp_path, environment(tmp_path, LUME_WEBHOOK_SECRET=SECRET)) as shell:
        yield shell


# -- from a real server


@pytest.fixture
def port() -> int:
    """For a receiver that the server names before it listens."""
    return unused_port()


@pytest.fixture
def sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int) -> Iterator[lume_local.ThreadedServer]:
    """A server that calls webhooks, and quickly again where they fail."""
    monkeypatch.setattr(outbox, "UNIT", 0.01)
    write_flows(tmp_path / "flows")
    (tmp_path / "good.csv").write_text(PEOPLE_CSV)
    with lume_local.serve_in_thread(
        flows=tmp_path / "flows",
        data=tmp_path / "data",
        roots=[tmp_path],
        webhook_secret=SECRET,
        webhook_hosts=[f"127.0.0.1:{port}"],
    ) as server:
        yield server


def submit(server: lume_local.ThreadedServer, source: str, url: str) -> str:
    """A run whose end is told to the URL; its id."""
    wanted = {"flow_version": "people:v1", "source_path": source, "webhook_url": url, "force_rerun": True}
    headers = {"lume-api-key": server.api_key, "Content-Type": "application/json"}
    status, answer = send(f"{server.base_url}/v1/runs", json.dumps(wanted).encode(), headers)
    assert status == 201, answer
    return str(json.loads(answer)["id"])


def settled(folder: Path, count: int) -> list[tuple[int, str | None]]:
    """Attempts, and why the last one failed, of so many deliveries, once they are settled."""
    end = time.monotonic() + DEADLINE
    (path,) = folder.rglob("runs.sqlite")
    while time.monotonic() < end:
        db = sqlite3.connect(path)
        rows = db.execute("SELECT attempts, error FROM deliveries WHERE due IS NULL ORDER BY at").fetchall()
        db.close()
        if len(rows) == count:
            return rows
        time.sleep(0.01)
    raise AssertionError("the deliveries were never settled")


def test_a_server_delivers_and_the_command_ends(
    shell: Shell, sender: lume_local.ThreadedServer, tmp_path: Path, port: int
) -> None:
    started, url = listen(shell, "--count", "2", "-o", "ndjson", "--port", str(port))
    runs = [submit(sender, "good.csv", url), submit(sender, "missing.csv", url)]
    done = started.end()
    told = {line["run_id"]: line for line in map(json.loads, done.out.splitlines())}
    assert done.code == 0
    assert [told[run]["status"] for run in runs] == ["SUCCEEDED", "FAILED"]
    for line in told.values():
        assert (line["verified"], line["reason"], line["status_code"]) == (True, None, 204)
        assert line["delivery_id"].startswith("dlv_")
        assert line["event"]["run_id"] == line["run_id"]
    assert settled(tmp_path / "data", 2) == [(1, None)] * 2  # its answers have left before it ended


# -- what is refused


def test_what_is_no_signed_event_is_refused(shell: Shell) -> None:
    started, url = listen(shell, "-o", "ndjson", "--once")
    for n, (method, body, headers, status, reason) in enumerate(
        (
            ("POST", BODY, {}, 401, "the header X-Lume-Signature-256 is missing"),
            ("POST", BODY, {"X-Lume-Signature-256": "sha256=x"}, 401, "is malformed"),
            ("POST", BODY, signed(BODY, "another"), 401, "does not match"),
            ("POST", BODY + b" ", signed(BODY), 401, "does not match"),
            ("POST", b"{}", signed(b"{}"), 400, "event"),
            ("POST", b"NaN", signed(b"NaN"), 400, "expected JSON"),
            ("POST", BODY, signed(BODY) | {"Content-Encoding": "gzip"}, 415, "the body is compressed"),
            ("POST", b" " * 1_100_000, {}, 413, "larger than 1,048,576 bytes"),
            ("GET", None, {}, 405, "method GET; deliveries are POST requests"),
        )
    ):
        assert send(url, body, headers, method) == (status, b""), reason
        started.until(lambda n=n: started.out.count("\n") > n)  # type: ignore[misc]
        line = json.loads(started.out.splitlines()[n])
        assert (line["verified"], line["status_code"], line["run_id"]) == (False, status, None), reason
        assert reason in line["reason"]
        assert line["event"] is None
    assert send(f"{url}any/path", BODY, signed(BODY)) == (204, b"")
    done = started.end()
    assert (done.code, json.loads(done.out.splitlines()[-1])["event"]["extra"]) == (0, 7)


def test_control_characters_of_a_sender_never_reach_the_terminal(shell: Shell) -> None:
    body = json.dumps({"event": "x", "run_id": "r", "status": "\x1b[2J\n"}).encode()
    started, url = listen(shell, "--once")
    assert send(url, b"", {"X-Lume-Delivery": "\x1b[2J"})[0] == 400  # aiohttp's own: it is no HTTP
    assert send(url, body, signed(body) | {"X-Lume-Delivery": "\x9b31m"})[0] == 204
    done = started.end()
    (line,) = done.out.splitlines()
    assert line.split()[2:4] == ["-", "r"]
    assert "\\x1b[2J\\n" in line
    assert not {"\x1b", "\x9b"} & {*done.out, *done.err}
    assert len(done.err.splitlines()) == 2


# -- secrets


def test_secrets_of_a_rotation_and_of_stdin(shell: Shell) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"from stdin\r\nnot this\n")
    os.close(writer)
    words = ["--secret-env", "OLD", "--secret-env", "NEW", "--secret-stdin", "--count", "3"]
    shell.variables |= {"OLD": "old one", "NEW": "new one"}
    started, url = listen(shell, *words, stdin=reader)
    os.close(reader)
    assert send(url, BODY, signed(BODY))[0] == 401  # LUME_WEBHOOK_SECRET is for where none is named
    for secret in ("old one", "new one", "from stdin"):
        assert send(url, BODY, signed(BODY, secret))[0] == 204
    assert started.end().code == 0


def test_the_secret_of_a_profile(shell: Shell) -> None:
    del shell.variables["LUME_WEBHOOK_SECRET"]
    file = shell.folder / "config" / "lume" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[local]\nwebhook_secret = "of the profile"\n')
    file.chmod(0o600)
    started, url = listen(shell, "-p", "local", "--once")
    assert send(url, BODY, signed(BODY, "of the profile"))[0] == 204
    assert started.end().code == 0
    beaten, url = listen(shell, "-p", "local", LUME_WEBHOOK_SECRET=SECRET)
    assert "LUME_WEBHOOK_SECRET is set and overrides the profile [local]" in beaten.err
    file.chmod(0o644)
    open_to_all, _ = listen(shell, "-p", "local")
    assert f"{file} contains a secret and is readable by others" in open_to_all.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no webhook secret: set LUME_WEBHOOK_SECRET, add webhook_secret to the profile [default]"),
        (["--secret-env", "NOT_SET"], "--secret-env: the variable NOT_SET is not set"),
        (["--secret-env", "BLANK"], "the secret is blank"),
        (["--secret-stdin"], "--secret-stdin: the first line of stdin is empty"),
        (["--secret-env", "SET", "--once", "--count", "2"], "are mutually exclusive"),
        (["--secret-env", "SET", "--timeout", "0"], "above 0"),
        (["--secret-env", "SET", "--forward", "localhost:8000"], "write it as http://127.0.0.1:8000/lume/"),
    ],
)
def test_wrong_usage(
    no_server: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.setenv("BLANK", " ")
    monkeypatch.setenv("SET", SECRET)
    result = CliRunner().invoke(app, ["webhook", "listen", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in " ".join(result.stderr.split())


# -- how it ends


def test_it_is_told_to_stop(shell: Shell) -> None:
    started, url = listen(shell, "--count", "9")
    assert send(url, BODY, signed(BODY))[0] == 204
    assert send(url, BODY, {})[0] == 401
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), DEADLINE) as half:  # it keeps nobody waiting
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert send(url, BODY, {})[0] == 401
        started.signal(signal.SIGTERM)
        done = started.end()
    assert done.code == 143
    assert done.err.splitlines()[-1] == "interrupted: 1 verified, 2 rejected"


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--once"], 124)])
def test_it_ends_by_itself(shell: Shell, words: list[str], code: int) -> None:
    done = shell.lume("webhook", "listen", "--timeout", "200ms", "--json", *words)
    assert (done.code, json.loads(done.out)) == (code, [])
    told = [json.loads(line) for line in done.err.splitlines()]
    assert told[0]["listening"]["url"].startswith("http://127.0.0.1:")
    assert [line["error"]["code"] for line in told[1:]] == ["timeout"] * (code != 0)


def test_one_document_of_all(shell: Shell) -> None:
    started, url = listen(shell, "--json", "--once")
    assert send(url, b"{}", {})[0] == 401
    assert send(url, BODY, signed(BODY))[0] == 204
    done = started.end()
    assert (done.code, [line["verified"] for line in json.loads(done.out)]) == (0, [False, True])


def test_a_person_sees_the_address_and_what_came(shell: Shell) -> None:
    shown = shell.screen("webhook", "listen", "--timeout", "300ms", "--once", width=120).out.splitlines()
    assert shown[0] == "lume: listening; Ctrl-C to stop. Use this webhook_url:"
    assert shown[1].startswith("  http://127.0.0.1:")
    assert shown[2] == "fewer than 1 delivery within 0.3 s: 0 verified"


def test_a_port_that_is_taken(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = shell.lume("webhook", "listen", "--port", port)
    assert (done.code, done.out) == (1, "")
    assert f"can't listen on 127.0.0.1:{port}: " in done.err
    assert done.err.endswith("pass another --host or --port\n")


def test_a_reader_that_has_gone_is_no_error_and_the_delivery_comes_again(shell: Shell) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [*LUME, "webhook", "listen"]
    with subprocess.Popen(command, env=shell.variables, stdout=writer, stderr=subprocess.PIPE) as process:
        os.close(writer)
        assert process.stderr
        process.stderr.readline()
        url = process.stderr.readline().decode().strip()
        assert send(url, BODY, signed(BODY))[0] == 500
        assert (process.wait(DEADLINE), process.stderr.read()) == (141, b"")


async def test_a_sender_that_dawdles_is_let_go(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(webhook, "_PATIENCE", 0.05)
    listening = Listening(CommandSession(GlobalOptions()), [SECRET.encode()], wanted=1, forward=None)
    work = asyncio.ensure_future(listening.until_ended("127.0.0.1", 0, None))
    async with asyncio.timeout(DEADLINE):
        while "http://" not in (told := capsys.readouterr().err):
            await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(told.split()[-1]).port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert b" 408 " in await reader.readline()
        writer.close()
        work.cancel()
        await asyncio.wait([work])
