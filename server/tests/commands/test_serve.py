"""`lume serve`: its options, and what they do to the server."""

import gc
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import pytest
from cli.shell import Shell
from click.testing import CliRunner, Result
from local.flows import PEOPLE, PEOPLE_CSV
from on_posix import posix_only

import lume_local
from lume_cli._app import app
from lume_cli._options import SecondsOrForever, Size
from lume_local import ServerOptions
from lume_local.commands import serving
from lume_sync import ApiError, Client

NAMED = inspect.signature(lume_local.serve).parameters.keys() - {"options"}


class Asked(Exception):
    """In place of a server that would run until Ctrl-C."""


class Started:
    """In place of a server, which ends at once."""

    base_url, api_key = "http://127.0.0.1:8080", "k" * 20

    def console_url(self, name: str = "") -> str:
        return self.base_url


@pytest.mark.parametrize("option", ["--arrivals", "--messages"])
def test_links_that_only_this_machine_can_open(
    no_server: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    @asynccontextmanager
    async def serve(**_: Any) -> Any:
        yield Started()

    async def at_once() -> None:
        pass

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr("anyio.sleep_forever", at_once)
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.chdir(no_server)
    monkeypatch.setenv("OPS", "mailto://ann:pw@example.com")
    Path("arrivals.toml").write_text("[[message]]\non = ['FAILED']\nto_env = ['OPS']\n")
    command = ["serve", "--no-flows", option, "arrivals.toml"]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    warned = (
        "messages to OPS leave this machine, but their links lead to http://127.0.0.1:8080: pass --public-url"
    )
    assert warned in said.stderr
    assert warned not in CliRunner().invoke(app, [*command, "--public-url", "https://l.example.com"]).stderr
    monkeypatch.setenv("OPS", "json://127.0.0.1:9010/")
    assert warned not in CliRunner().invoke(app, command).stderr


@pytest.fixture
def asked(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `lume_local.serve` is called with, in a folder with the files that options name."""
    calls: list[dict[str, Any]] = []

    @asynccontextmanager
    async def serve(**settings: Any) -> Any:
        calls.append(settings)
        raise Asked
        yield

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(gc, "freeze", lambda: None)  # the process of these tests goes on
    monkeypatch.setenv("SECRET", "whisper")
    monkeypatch.setenv("OLD_SECRET", "murmur")
    monkeypatch.chdir(no_server)
    Path("f").mkdir()
    for name in ("arrivals.toml", "keys.toml", "a.pem", "b.pem"):
        Path(name).touch()
    return calls


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, ["serve", *words])


def test_what_is_not_said_is_left_to_the_server(asked: list[dict[str, Any]]) -> None:
    invoke()
    assert asked == [{"data": ".lume", "host": "127.0.0.1", "dev": False, "drain": 60.0, "flows": "flows"}]


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["--no-flows"], {"flows": None}),
        (["--flows", "f"], {"flows": "f"}),
        (["--dev"], {"dev": True}),
        (["--max-active", "3"], {"max_active": 3}),
        (["--engine", "pool://4"], {"engine": "pool://4"}),
        (
            ["--engine-env", "SECRET", "--shard-bytes", "64M"],
            {"engine": "whisper", "shard_bytes": 64 * 1024**2},
        ),
        (["--max-upload", "100M"], {"max_upload_bytes": 100 * 1024**2}),
        (["--max-upload", "0"], {"max_upload_bytes": 0}),
        (["--keep", "90d"], {"keep": 90 * 86400.0}),
        (["--keep", "forever"], {"keep": None}),
        (["--run-timeout", "90m"], {"run_timeout": 5400.0}),
        (["--run-timeout", "forever"], {"run_timeout": None}),
        (["--key-env", "SECRET"], {"api_key": "whisper"}),
        (["--uploads-quota", "1G"], {"uploads_quota": 1024**3}),
        (["--keep-uploads", "7d"], {"keep_uploads": 7 * 86400.0}),
        (["--keep-output", "forever"], {"keep_output": None}),
        (["--state-env", "SECRET"], {"state_env": "SECRET"}),
        (["--state", "s", "--work", "w"], {"state": "s", "work": "w"}),
        (["--keep-runs", "90d", "--archive", "a"], {"keep_runs": 90 * 86400.0, "archive": "a"}),
        (["--keep-audit", "400d"], {"keep_audit": 400 * 86400.0}),
        (["--arrivals", "arrivals.toml"], {"arrivals": Path("arrivals.toml")}),
        (
            ["--lineage-url", "http://l", "--lineage-key-env", "SECRET"],
            {"lineage_url": "http://l", "lineage_key": "whisper"},
        ),
        (["--keys", "keys.toml"], {"keys": Path("keys.toml")}),
        (
            ["--tls-cert", "a.pem", "--tls-key", "b.pem"],
            {"tls_cert": Path("a.pem"), "tls_key": Path("b.pem")},
        ),
        (["--webhook-secret-env", "SECRET"], {"webhook_secret": (b"whisper",)}),
        (
            ["--webhook-secret-env", "SECRET", "--webhook-secret-env", "OLD_SECRET"],
            {"webhook_secret": (b"whisper", b"murmur")},
        ),
        (
            ["--webhook-secret-env", "SECRET", "--webhook-host", "a.example", "--webhook-host", "b.example"],
            {"webhook_hosts": ("a.example", "b.example")},
        ),
        (
            ["--messages", "arrivals.toml", "--public-url", "https://lume.example.com"],
            {"messages": Path("arrivals.toml"), "public_url": "https://lume.example.com"},
        ),
        (["--console-host", "a.example"], {"console_hosts": ("a.example",)}),
        (["--root", ".", "--root", "/"], {"roots": (".", "/")}),
    ],
)
def test_options_and_settings(
    asked: list[dict[str, Any]], words: Sequence[str], setting: dict[str, Any]
) -> None:
    invoke(*words)
    assert len(asked) == 1
    assert asked[0] == asked[0] | setting


def test_every_setting_has_an_option(asked: list[dict[str, Any]]) -> None:
    words = "--key-env SECRET --max-upload 1 --keep 1d --webhook-secret-env SECRET --webhook-host h --root ."
    words += " --console-host h --run-timeout 1d --keys keys.toml --uploads-quota 1 --keep-uploads 1d"
    words += " --keep-output 1d"
    words += " --arrivals arrivals.toml --keep-runs 90d --archive d --keep-audit 400d --state s --work w"
    words += " --messages arrivals.toml --public-url https://l --state-env SECRET"
    words += " --port 1 --lineage-namespace n --tls-cert a.pem --tls-key b.pem"
    words += " --lineage-url http://l --lineage-key-env SECRET --max-active 1 --engine pool --shard-bytes 1M"
    invoke(*words.split())
    assert set(asked[0]) == NAMED | ServerOptions.__annotations__.keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--webhook-host", "a.example"], "needs --webhook-secret-env"),
        (["--webhook-secret-env", "NOT_SET"], "--webhook-secret-env: the variable NOT_SET is not set"),
        (["--key-env", "NOT_SET"], "--key-env: the variable NOT_SET is not set"),
        (["--flows", "f", "--no-flows"], "are mutually exclusive"),
        (["--max-upload", "big"], "write 500000, 64K, 100M or 10G"),
        (["--keep", "0"], "above 0"),
        (["--keep", "1000000d"], "write forever"),
    ],
)
def test_wrong_usage(asked: list[dict[str, Any]], words: Sequence[str], message: str) -> None:
    result = invoke(*words)
    assert (result.exit_code, asked) == (2, [])
    assert message in " ".join(result.stderr.split())


def test_folders_that_are_none(asked: list[dict[str, Any]]) -> None:
    Path("f.toml").touch()
    result = invoke("--root", "f.toml")
    assert (result.exit_code, asked) == (2, [])
    assert "--root f.toml is not a folder" in " ".join(result.stderr.split())
    Path("flows").mkdir()
    assert "no flow files (*.toml) in flows yet" in invoke().stderr
    Path("flows/a.toml").touch()
    assert "no flow files" not in invoke().stderr


def test_options_are_named_and_no_arguments(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "whisper")
    monkeypatch.chdir(no_server)
    for words, message in (
        ("", "pass --flows DIR, or pass --no-flows"),
        ("--no-flows --archive a", "error: --archive needs --keep-runs: without it no run is removed"),
        ("--webhook-secret-env SECRET --webhook-host http://a --no-flows", "'http://a' is not a valid host"),
    ):
        result = invoke(*words.split())
        assert (result.exit_code, message in result.stderr) == (1, True), result.stderr
        assert "flows=" not in result.stderr


def test_a_key_of_a_file_is_no_option(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(no_server)
    for line, message in (
        ("max_active = 0", "keys.toml:4: a.max_active: must be a whole number"),
        ("max_actve = 4", "keys.toml:4: a.max_actve: is not a known key; did you mean 'max_active'?"),
    ):
        Path("keys.toml").write_text(f'[a]\nrole = "read"\nsha256 = "{"0" * 64}"\n{line}\n')
        assert f"error: --keys: {message}" in invoke("--no-flows", "--keys", "keys.toml").stderr


@pytest.mark.thorough
@posix_only
@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become somebody else"
)
@pytest.mark.parametrize("what", ["flows", "flows/a.toml"])
def test_flow_files_that_may_not_be_read(what: str) -> None:
    """Neither is taken for a folder without flows: every submission would be refused."""
    become = "import os, lume_cli._app, lume_local.commands.serving; os.setgid(65534); os.setuid(65534); "
    command = [sys.executable, "-c", f"{become}lume_cli._app.app.main(['serve', '--data', 'data'])"]
    with TemporaryDirectory() as home:  # outside of tmp_path, which others may not enter
        for folder in (".", "flows", "data"):
            Path(home, folder).mkdir(exist_ok=True)
            Path(home, folder).chmod(0o777)
        Path(home, "flows/a.toml").touch()
        Path(home, what).chmod(0o000)
        done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    shown = "the flows folder can't be read" if what == "flows" else "flows/a.toml can't be read"
    assert f"error: {shown}: Permission denied: " in done.stderr


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("500000", 500000), ("64K", 65536), ("2g", 2 * 1024**3), ("1T", 1024**4)]
)
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1.5G", "1x", "9" * 19, "\u0661"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Size().convert(text, None, None)


def test_kept_for() -> None:
    assert SecondsOrForever().convert("30d", None, None) == timedelta(days=30).total_seconds()
    assert SecondsOrForever().convert("forever", None, None) == float("inf")


def test_a_server_with_no_flow_files_and_small_uploads(shell: Shell, tmp_path: Path) -> None:
    started = shell.start("serve", "--no-flows", "--max-upload", "10", "--keep", "forever")
    started.until(lambda: "LUME_API_KEY" in started.err and "\n" in started.out)
    exports = [line.split()[1] for line in started.err.splitlines() if "export" in line]
    variables = dict(line.split("=", 1) for line in exports)
    (tmp_path / "large.csv").write_bytes(b"x" * 11)
    client = Client(variables["LUME_API_KEY"], base_url=variables["LUME_BASE_URL"])
    with client, pytest.raises(ApiError, match="at most 10 bytes"):
        client.upload_file(tmp_path / "large.csv")
    started.signal(signal.SIGINT)
    assert started.end().code == 0


def test_a_key_of_a_variable_is_not_shown(shell: Shell) -> None:
    started = shell.start("serve", "--no-flows", "--key-env", "MYKEY", MYKEY="whisper-1-of-a-test")
    started.until(lambda: "LUME_API_KEY" in started.err)
    started.signal(signal.SIGINT)
    done = started.end()
    assert 'export LUME_API_KEY="$MYKEY"  # set MYKEY there as well' in done.err
    assert "whisper" not in done.out + done.err
    assert "#token=" not in done.out + done.err
    assert "`lume console` prints a link" in done.err


@pytest.mark.parametrize(("number", "is_silent"), [(signal.SIGINT, False), (signal.SIGTERM, True)])
def test_a_server_whose_postgresql_is_away_says_so_once_and_ends_at_once(
    shell: Shell, number: signal.Signals, is_silent: bool
) -> None:
    pytest.importorskip("psycopg")
    with ExitStack() as sockets:
        silent = sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        silent.settimeout(40)
        port = silent.getsockname()[1] if is_silent else 1
        url = f"postgresql://lume:whisper@127.0.0.1:{port}/lume"
        started = shell.start("serve", "--no-flows", "--state-env", "STATE", STATE=url)
        if is_silent:
            sockets.enter_context(silent.accept()[0])  # it waits for an answer
        else:
            started.until(lambda: "trying again" in started.err)
        began = time.monotonic()
        started.signal(number)
        done = started.end()
    assert time.monotonic() - began < 4
    assert (done.code, done.out, "whisper" in done.err) == (0, "", False)
    said = "the state in PostgreSQL: it can't be reached: nothing listens at its host and port; trying again"
    assert done.err.splitlines() == [*([] if is_silent else [said]), "lume: stopped"]


@pytest.mark.parametrize("log", ["json", "text"])
def test_a_log_of_requests_and_runs(shell: Shell, tmp_path: Path, log: str) -> None:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "people.v1.toml").write_text(PEOPLE)
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    started = shell.start("serve", "--key-env", "MYKEY", "--log-format", log, MYKEY="whisper-1-of-a-test")
    started.until(lambda: "serving at" in started.err and "http" in started.out)
    url = json.loads(started.out)["base_url"] if log == "json" else started.out.strip()
    with Client("whisper-1-of-a-test", base_url=url) as client:
        run = client.run("people:v1", "people.csv").wait()
    started.until(lambda: f"{run.id} of people:v1 is SUCCEEDED" in started.err)
    started.signal(signal.SIGINT)
    done = started.end()
    assert (done.code, "whisper" in done.out + done.err) == (0, False)
    if log == "text":
        assert re.search(r" INFO lume_local.http: POST /v1/runs: 201 after \d\.\d{3} s\n", done.err)
        return
    lines = [json.loads(line) for line in done.err.splitlines()]
    submitted = next(line for line in lines if line.get("route") == "/v1/runs")
    assert (submitted["method"], submitted["status_code"], submitted["key"]) == ("POST", 201, "server")
    assert (submitted["level"], submitted["logger"]) == ("info", "lume_local.http")
    ended = next(line for line in lines if line.get("logger") == "lume_local.runs")
    assert (ended["run_id"], ended["status"], ended["rows_read"]) == (run.id, "SUCCEEDED", 3)
    assert datetime.fromisoformat(ended["time"]).tzinfo is not None
