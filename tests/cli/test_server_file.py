"""The server of the nearest `.lume` is found by every command; started again it has the same port and key."""

import fcntl
import json
import os
import re
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from cli.shell import Shell, Started, environment
from local.flows import PEOPLE_CSV, write_flows

from lume_async import Client, ConfigurationError
from lume_cli import _server_file
from lume_cli._options import GlobalOptions
from lume_cli._settings import resolve
from lume_local._shared.lock import held, this_process


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_flows(tmp_path / "flows")
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    (tmp_path / "below" / "deeper").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def lone(home: Path) -> Iterator[Shell]:
    with Shell(home, environment(home)) as shell:
        yield shell


def serving(shell: Shell, *words: str, **variables: str) -> Started:
    started = shell.start("serve", *words, **variables)
    started.until(lambda: "LUME_API_KEY" in started.err and "\n" in started.out)
    return started


def stop(started: Started) -> None:
    started.signal(signal.SIGTERM)
    assert started.end().code == 0


def without_link(text: str) -> str:
    return re.sub(r"#token=\S+", "", text)


def opened_by(link: str) -> str:
    """The name of the session that a link begins."""
    url, _, token = link.partition("/#token=")
    body, kind = json.dumps({"token": token}).encode(), {"Content-Type": "application/json"}
    with urlopen(Request(f"{url}/console/session", body, kind)) as answer:
        session = json.loads(answer.read())["session"]
    with urlopen(Request(f"{url}/console/session", headers={"lume-console-session": session})) as answer:
        return str(json.loads(answer.read())["name"])


@pytest.mark.thorough
def test_a_link_to_the_console_is_printed_at_the_start_and_when_asked_for(lone: Shell) -> None:
    started = serving(lone, LOGNAME="anna")
    first = re.search(r"Console: (\S+) \(works once\)", started.err)
    second = lone.lume("console", LOGNAME="anna")
    assert second.code == 0, second.err
    assert first is not None
    links = [first[1], second.out.strip()]
    assert all(re.fullmatch(re.escape(started.out.strip()) + r"/#token=[\w-]{43}", link) for link in links)
    assert len(set(links)) == 2
    assert {opened_by(link) for link in links} == {"server:anna"}
    assert json.loads(lone.lume("console", "-o", "json").out)["url"].startswith(started.out.strip())
    wrong = lone.lume("console", LUME_BASE_URL=started.out.strip(), LUME_API_KEY="wrong")
    assert (wrong.code, "API key" in wrong.err) == (4, True), wrong.err
    listing = lone.lume("list", LUME_BASE_URL=started.out.strip(), LUME_API_KEY="wrong")
    assert (listing.code, "is not one of this server's keys" in listing.err) == (4, True), listing.err
    stop(started)
    gone = lone.lume("console")
    assert (gone.code, "does not respond" in gone.err) == (1, True), gone.err
    assert (
        f"hint: start it again: run `lume serve` in {lone.folder}, with the options that it had" in gone.err
    )


@pytest.mark.thorough
def test_nothing_has_to_be_exported(lone: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = serving(lone)
    assert f"Commands find it in {home} and below" in started.err
    monkeypatch.chdir(home)
    monkeypatch.delenv("LUME_BASE_URL", raising=False)
    with pytest.raises(ConfigurationError, match=re.escape(str(home / ".lume/state/server.json"))):
        Client("key")
    lone.folder = home / "below" / "deeper"
    done = lone.lume("run", "people:v1", "people.csv", "--wait")
    assert (done.code, "SUCCEEDED" in done.err) == (0, True), done.err
    assert "next:" not in done.err
    (home / "mixed.csv").write_text(PEOPLE_CSV + "x,no email,5\n")
    mixed = lone.lume("run", "people:v1", "mixed.csv", "--wait")
    step = re.search(r"next: `(lume rejects \w+)`", mixed.err)
    assert step is not None, mixed.err
    assert "no email" in lone.lume(*step[1].split()[1:]).out
    assert step[0] in lone.lume("wait", step[1].split()[-1]).err
    stop(started)
    away = lone.lume("list")
    assert (away.code, started.out.strip() in away.err) == (1, True)
    assert f"hint: start it again: run `lume serve` in {home}" in away.err
    assert "start it again with `lume serve`" in lone.lume("doctor").out


@contextmanager
def stranger(port: int) -> Iterator[Callable[[], bytes]]:
    """A program of somebody else on the port; gives all that it was sent, and never answers."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        listening.setblocking(False)

        def heard() -> bytes:
            found = b""
            with suppress(BlockingIOError):
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        found += connection.recv(65536)
            return found

        yield heard


@pytest.mark.parametrize("words", [["run", "people:v1", "people.csv", "--upload"], ["console"]])
def test_who_listens_on_the_port_of_a_server_that_has_stopped_is_sent_nothing(
    lone: Shell, home: Path, written: Path, words: list[str]
) -> None:
    (home / ".lume/state/lock").write_text("1")  # as it leaves it: held by nobody
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    _server_file.write(home / ".lume/state", f"http://127.0.0.1:{port}", "its key")
    with stranger(port) as heard:
        done = lone.lume(*words)
        assert heard() == b""
    assert done.code == 1
    assert f"http://127.0.0.1:{port} does not respond: the server of {home} is not running" in done.err


@pytest.mark.thorough
def test_a_command_that_waits_goes_on_when_the_server_is_there_again(lone: Shell, home: Path) -> None:
    first = serving(lone)
    stop(first)
    with stranger(int(first.out.strip().rpartition(":")[2])):
        waiting = lone.start("run", "people:v1", "people.csv", "--wait")
        waiting.until(lambda: "does not respond (it is not running" in waiting.err)
    second = serving(lone)
    done = waiting.end()
    stop(second)
    assert first.out == second.out
    assert (done.code, "SUCCEEDED" in done.err) == (0, True), done.err


@pytest.mark.thorough
def test_a_command_that_waits_is_told_where_the_server_is_now(lone: Shell) -> None:
    first = serving(lone)
    run_id = lone.lume("run", "people:v1", "people.csv", "--wait").out.split()[0]
    stop(first)
    with stranger(int(first.out.strip().rpartition(":")[2])) as heard:
        waiting = lone.start("wait", run_id)
        waiting.until(lambda: "does not respond (it is not running" in waiting.err)
        second = serving(lone)
        done = waiting.end()
        assert heard() == b""
    now = second.out.strip()
    assert done.code == 1
    assert f"now runs at {now}, but this command started with {first.out.strip()}; resume with" in done.err
    resume = re.search(r"resume with `lume (wait \w+)`", done.err)
    assert resume is not None, done.err
    assert lone.lume(*resume[1].split()).code == 0
    stop(second)


def test_a_lock_of_another_server_is_none_of_the_one_that_wrote_the_file(written: Path) -> None:
    lock = written.with_name("lock")
    process = this_process()
    assert process is not None
    for content, lives in (
        (json.dumps(process.plain() | {"pid": 1}).encode(), False),
        (b"", False),
        (json.dumps(process.plain()).encode(), True),
        (b"{}", True),
    ):
        lock.write_bytes(content)
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            found = _server_file.read(written.parent)
            assert found is not None
            assert found.is_running is lives, content
    assert not found.is_running
    with held(lock):  # as a server does
        assert found.is_running
    lock.unlink()
    assert not found.is_running


@pytest.mark.thorough
def test_another_start_has_the_same_port_and_key(lone: Shell, home: Path) -> None:
    first = serving(lone)
    port = first.out.strip().rpartition(":")[2]
    second = lone.lume("serve")
    taken = lone.lume("serve", "--data", "other", "--port", port)
    stop(first)
    assert (second.code, taken.code) == (1, 1)
    assert f"(process {first.process.pid})" in second.err
    assert f"Its URL: {first.out.strip()}" in second.err
    words = f"can't listen on 127.0.0.1:{port}: another program listens there; pass another --port"
    assert words in taken.err
    again = serving(lone)
    stop(again)
    assert first.out == again.out
    assert without_link(first.err) == without_link(again.err)
    file = home / ".lume/state/server.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["base_url"] == first.out.strip()
    with socket.create_server(("127.0.0.1", int(port))):  # of another: it is not waited for
        moved = serving(lone)
        stop(moved)
    assert moved.out.strip() != first.out.strip()
    started = serving(lone, "--port", port, "--key-env", "MINE", MINE="mine-1-for-a-test")
    stop(started)
    assert started.out == first.out, "options win"
    assert json.loads(file.read_text())["api_key"] == "mine-1-for-a-test"


@pytest.mark.thorough
def test_a_flow_file_that_changes_is_pointed_out(lone: Shell, home: Path) -> None:
    started = serving(lone)
    file = home / "flows" / "people.v1.toml"
    file.write_text(file.read_text().replace("maximum = 150", "maximum = 120"))
    started.until(lambda: "has changed, but people:v1 stays as it was" in started.err)
    run = lone.lume("run", "people:v1", "people.csv", "--wait")
    stop(started)
    assert run.code == 0
    assert "warning: flows/people.v1.toml has changed, but people:v1 stays as it was" in run.err


@pytest.mark.thorough
def test_a_development_server_takes_each_change(lone: Shell, home: Path) -> None:
    started = serving(lone, "--dev")
    file = home / "flows" / "people.v1.toml"
    assert lone.lume("run", "people:v1", "people.csv", "--wait").code == 0
    file.write_text(file.read_text().replace("maximum = 150", "maximum = 40"))
    again = lone.lume("run", "people:v1", "people.csv", "--wait")
    run_id = again.out.split()[0]
    shown = lone.lume("show", run_id)
    stop(started)
    assert again.code == 5
    assert "warning: a development server" in started.err
    assert "from a development server, where a version may change: people:v1" in again.err
    assert "from a development server" in shown.out


@pytest.mark.thorough
def test_a_state_of_its_own_has_the_file(lone: Shell, home: Path) -> None:
    places = ("--state", str(home / "own"), "--work", str(home / "shared"))
    first = serving(lone, *places)
    taken = lone.lume("serve", *places)
    stop(first)
    second = serving(lone, *places)
    stop(second)
    assert first.out == second.out
    assert f"Its URL: {first.out.strip()}" in taken.err
    assert json.loads((home / "own/server.json").read_text())["base_url"] == first.out.strip()
    assert not (home / ".lume").exists()
    made = lone.lume("backup", "b", "--data", "shared", "--state", "own")
    assert (made.code, made.out) == (0, "b\n")


def find(home: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> tuple[str | None, str | None]:
    monkeypatch.chdir(home / "below")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = resolve(GlobalOptions(), lambda warning: None)
    return settings.base_url, settings.api_key


@pytest.fixture
def written(home: Path, no_server: Path) -> Path:
    (home / ".lume").mkdir(exist_ok=True)
    return _server_file.write(home / ".lume/state", "http://127.0.0.1:4321", "its key")


def test_its_key_belongs_to_its_url(home: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find(home, monkeypatch, LUME_API_KEY="of another service")
    assert found == ("http://127.0.0.1:4321", "its key")
    warnings: list[str] = []
    resolve(GlobalOptions(), warnings.append)
    assert len(warnings) == 1
    assert f"the API key from LUME_API_KEY is ignored: URL and key come from {written}" in warnings[0]
    assert "another service" not in warnings[0]
    monkeypatch.setenv("LUME_API_KEY", "its key")
    resolve(GlobalOptions(), warnings.append)
    assert len(warnings) == 1


def test_what_is_configured_wins(home: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(home, monkeypatch, LUME_BASE_URL="https://lume") == ("https://lume", None)


def test_a_file_that_others_can_write_is_not_trusted(
    home: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mode in (0o620, 0o602):
        written.chmod(mode)
        assert find(home, monkeypatch) == (None, None), mode


def test_a_file_that_is_none_is_ignored(home: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "[]", "{}", '{"base_url": 7}', '{"base_url": "http://[", "api_key": "k"}'):
        written.write_text(text)
        assert find(home, monkeypatch) == (None, None), text


def test_a_link_is_not_followed(home: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written.rename(home / "elsewhere")
    os.symlink(home / "elsewhere", written)
    assert find(home, monkeypatch) == (None, None)
