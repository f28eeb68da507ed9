"""`lume message`: the file is checked, each address is tried; and `lume show` has what was sent."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.shell import Shell
from click.testing import CliRunner, Result
from local.people import PASSWORD, Inbox, chat, mail
from local.receiver import unused_port

import lume_local
from lume_async import ConfigurationError
from lume_cli._app import app
from lume_sync import Client

RULES = """
[[message]]
on = ["FAILED", "CRASHED"]
flows = ["people*"]
to_env = ["OPS_URL", "MAIL_URL"]

[[message]]
on = ["PARTIAL_FAILED"]
to_env = ["OPS_URL"]
"""


class People:
    """Those who receive messages, in a loop of their own: commands are waited for."""

    def __init__(self) -> None:
        self.ops: Inbox[dict[str, Any]]
        self.box: Inbox[Any]
        self.ready, self._loop, self._over = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[self._serve()])

    async def _serve(self) -> None:
        async with chat() as self.ops, mail() as self.box:
            self.ready.set()
            await self._over.wait()

    def start(self) -> None:
        self._thread.start()
        assert self.ready.wait(20)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    found = People()
    found.start()
    monkeypatch.setenv("OPS_URL", found.ops.address)
    monkeypatch.setenv("MAIL_URL", found.box.address)
    yield found
    found.stop()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "arrivals.toml"
    path.write_text(RULES)
    return path


def lume(*command: str) -> Result:
    return CliRunner().invoke(app, ["message", *command])


def test_each_address_is_tried_once(people: People, config: Path) -> None:
    result = lume("test", str(config))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == ["TO", "RESULT", "OPS_URL", "accepted", "MAIL_URL", "accepted"]
    ((said,), (letter,)) = people.ops.received, people.box.received
    assert said["title"] == letter["Subject"] == "Lume: a test"
    assert said["message"] == (
        "Messages from Lume arrive here: arrivals.toml names the variable OPS_URL. Nothing has happened."
    )


def test_what_is_wrong_with_an_address_is_said_without_it(
    people: People, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_URL", f"json://ops:hunter2@127.0.0.1:{unused_port()}/t0ken")
    monkeypatch.setenv("MAIL_URL", people.box.address.replace(PASSWORD, "wrong-horse"))
    result = lume("test", str(config), "-o", "ndjson")
    assert result.exit_code == 1
    ops, box = (json.loads(line) for line in result.stdout.splitlines())
    assert (ops["to_env"], ops["accepted"], "Connection refused" in ops["error"]) == ("OPS_URL", False, True)
    assert (box["accepted"], "535" in box["error"]) == (False, True)
    assert not any(
        secret in result.output for secret in ("hunter2", "t0ken", "wrong-horse", "ops@example.com")
    )


def test_a_variable_that_is_not_set_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPS_URL", raising=False)
    monkeypatch.setenv("MAIL_URL", "nonsense")
    result = lume("test", str(config))
    assert result.exit_code == 1
    assert "OPS_URL   the variable OPS_URL is not set" in result.stdout
    assert "MAIL_URL  this is not an address that apprise knows" in result.stdout
    assert "the variable OPS_URL is not set here; the server does not start without it" in result.stderr


def test_a_file_without_mistakes_is_listed(config: Path, people: People) -> None:
    result = lume("check", str(config))
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == [
        "ON",
        "FAILED, CRASHED",
        "PARTIAL_FAILED",
    ]
    assert people.ops.received == []


def test_links_that_readers_elsewhere_can_not_follow(
    config: Path, monkeypatch: pytest.MonkeyPatch, people: People
) -> None:
    """Both commands that know no server name the option; a receiver on this machine opens its server's address."""
    monkeypatch.setenv("OPS_URL", "slack://t0ken/b/c")
    for result in (lume("check", str(config)), CliRunner().invoke(app, ["arrivals", "check", str(config)])):
        assert result.exit_code == 0
        (said,) = (line for line in result.stderr.splitlines() if "--public-url" in line)
        assert "messages to OPS_URL leave this machine" in said
        assert "`lume serve --public-url URL`" in said
        assert "t0ken" not in result.output
    for here in ("json://localhost:9010/", "mailto://[::1]:25?to=ann@example.com"):
        monkeypatch.setenv("OPS_URL", here)
        assert lume("check", str(config)).stderr == ""


def test_the_file_is_arrivals_toml_by_default(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    for group in ("message", "arrivals"):
        assert CliRunner().invoke(app, [group, "check"]).exit_code == 0


def test_every_mistake_has_its_line(config: Path) -> None:
    config.write_text(RULES.replace("CRASHED", "CRASHD").replace("flows", "flow") + "at_most = 1\n")
    for command in ("check", "test"):
        result = lume(command, str(config))
        assert (result.exit_code, result.stdout) == (1, "")
        first, second, third = result.stderr.splitlines()
        assert f"{config}:3: message[0].on: 'CRASHD' is not one of FAILED, CRASHED" in first
        assert f"{config}:4: message[0].flow: is not a known key; did you mean 'flows'?" in second
        assert f"{config}:10: message[1].at_most: must be a string" in third


def test_a_file_without_messages_and_no_file(config: Path) -> None:
    config.write_text('[[arrival]]\nname = "a"\n')
    assert "no message is sent" in lume("check", str(config)).stderr
    assert lume("check", str(config.with_name("absent"))).exit_code == 2


async def test_without_apprise_the_extra_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lume_async._base.extras.find_spec", lambda name: None if name == "apprise" else 1)
    with pytest.raises(ConfigurationError, match=r"needs apprise: .*\[messages\]"):
        await lume_local.try_messages(config)


@pytest.mark.thorough
def test_show_has_what_was_sent(tmp_path: Path, people: People, config: Path) -> None:
    from cli.shell import environment
    from local.flows import write_flows

    write_flows(tmp_path / "flows")
    with (
        lume_local.serve_in_thread(
            tmp_path / "flows", tmp_path / ".lume", [tmp_path], messages=config
        ) as server,
        Client(server.api_key, base_url=server.base_url) as client,
        Shell(
            tmp_path, environment(tmp_path, LUME_BASE_URL=server.base_url, LUME_API_KEY=server.api_key)
        ) as shell,
    ):
        run = client.run("people:v1", "absent.csv")
        client.wait_all([run], timeout=20)
        while sum(one.state == "delivered" for one in run.deliveries()) < 2:
            pass
        page, plain = shell.lume("show", run.id).out, json.loads(shell.lume("show", run.id, "--json").out)
    lines = [line.split(None, 1) for line in page.splitlines()]
    assert {one[1].partition(",")[0] for one in lines if one[0] == "message"} == {
        "delivered to OPS_URL",
        "delivered to MAIL_URL",
    }
    assert {(one["kind"], one["receiver"]) for one in plain["deliveries"]} == {
        ("message", "OPS_URL"),
        ("message", "MAIL_URL"),
    }
