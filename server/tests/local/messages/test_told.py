"""What people get from a server: by HTTP and from a real mail server, exactly what its rules say."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from local.people import PASSWORD, Inbox, chat, mail
from local.processes import workers
from local.servers import process, serve
from local.wire import Wire
from on_posix import posix_only

from lume_async.errors import ConfigurationError
from lume_local._messages import messenger
from lume_local._runs.deliveries import message_carrier, outbox

RULES = """
[[message]]
on = ["FAILED", "CRASHED", "PARTIAL_FAILED", "recovered"]
flows = ["peop*"]
rejected_above = 0.4
to_env = ["OPS_URL"]
"""
CONSOLE = "https://lume.example.com/console"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other at once, and a changed file is seen at once."""
    monkeypatch.setattr(outbox, "UNIT", 0.0001)
    monkeypatch.setattr(messenger, "LOOK", 0.02)


@pytest.fixture
async def ops(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inbox[dict[str, Any]]]:
    """Somebody who is told by HTTP."""
    async with chat() as here:
        monkeypatch.setenv("OPS_URL", here.address)
        yield here


@asynccontextmanager
async def telling(home: Path, rules: str = RULES, **options: Any) -> AsyncIterator[Wire]:
    path = home / "arrivals.toml"
    path.write_text(rules)
    async with serve(home, messages=path, public_url=f"{CONSOLE}/", **options) as wire:
        yield wire


def at(run: dict[str, Any]) -> str:
    """When a run ended, as messages have it."""
    return f"{run['finished_at'][:10]} {run['finished_at'][11:19]} UTC"


async def deliveries(wire: Wire, run: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await wire.ask("GET", f"/v1/runs/{run['id']}/deliveries")).document[
        "items"
    ]
    return found


async def settled(wire: Wire, run: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """The deliveries of a run, once so many are settled."""
    async with asyncio.timeout(30):
        while len(found := [one for one in await deliveries(wire, run) if one["state"] != "pending"]) < count:
            await asyncio.sleep(0.01)
    return found


async def test_a_failed_run_is_told_by_http_and_by_mail(
    home: Path, ops: Inbox[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RULES.replace('"OPS_URL"', '"OPS_URL", "MAIL_URL"')
    async with mail() as box:
        monkeypatch.setenv("MAIL_URL", box.address)
        async with telling(home, rules) as wire:
            run = await wire.run("people:v1", "absent.csv")
            (said,), (letter,) = await ops.until(1), await box.until(1)
            told = await settled(wire, run, 2)
    assert (said["title"], said["type"]) == ("people: a run failed", "failure")
    assert said["message"].splitlines() == [
        "people:v1 on absent.csv",
        f"FAILED at {at(run)}",
        "Reason: there is no file the source: put it there, then submit the run again",
        f"{CONSOLE}/#/runs/{run['id']}",
    ]
    assert (letter["Subject"], letter["To"]) == ("people: a run failed", "ops@example.com")
    body = letter.get_body(("plain", "html"))
    assert body is not None
    text = body.get_content()
    assert all(line in text for line in said["message"].splitlines()[:2])
    assert run["id"] in text
    assert {(one["kind"], one["receiver"], one["state"], one["attempts"], one["error"]) for one in told} == {
        ("message", name, "delivered", 1, None) for name in ("OPS_URL", "MAIL_URL")
    }


async def test_what_is_beyond_the_limit_comes_in_digests(home: Path, ops: Inbox[dict[str, Any]]) -> None:
    """One is enough on a quick machine; together they tell of each run once."""

    def told(said: dict[str, Any]) -> int:
        words = said["title"].split()
        return int(words[0]) if words[0].isdecimal() else 1

    async with telling(home, RULES + 'at_most = "1 in 1s"') as wire:
        runs = [await wire.run("people:v1", f"absent{n}.csv") for n in range(5)]
        said = await ops.until(2)
        while sum(map(told, said)) < len(runs):
            said = await ops.until(len(said) + 1)
    assert told(said[0]) == 1
    assert sum(map(told, said)) == len(runs)
    assert said[-1]["message"].splitlines()[-1].startswith(f"{CONSOLE}/#/runs")


async def test_a_flow_is_fine_again_once_nothing_waits(home: Path, ops: Inbox[dict[str, Any]]) -> None:
    """Also if the server is another one by then."""
    async with telling(home) as wire:
        for name in ("a", "b"):
            await wire.run("people:v1", f"{name}.csv")
        await wire.run("people:v1", "people.csv")
    for name in ("a", "b"):
        (home / f"{name}.csv").write_text((home / "people.csv").read_text())
        async with telling(home) as wire:
            await wire.run("people:v1", f"{name}.csv")
            if name == "b":
                said = await ops.until(3)
    assert [one["title"] for one in said] == ["people: a run failed"] * 2 + ["people is fine again"]
    assert "people.csv" not in said[-1]["message"]


async def test_a_flow_is_not_fine_while_rejected_rows_wait(home: Path, ops: Inbox[dict[str, Any]]) -> None:
    """Whatever other files succeed, also on another server."""
    good = (home / "people.csv").read_text()
    (home / "bad.csv").write_text(good.replace("\n1,", "\nx,").replace("\n2,", "\ny,"))
    (home / "other.csv").write_text(good)
    async with telling(home) as wire:
        await wire.run("people:v1", "bad.csv")
        await wire.run("people:v1", "people.csv")
    async with telling(home) as wire:
        await wire.run("people:v1", "other.csv")
        (home / "bad.csv").write_text(good)
        await wire.run("people:v1", "bad.csv", force_rerun=True)
        said = await ops.until(2)
    assert [one["title"] for one in said] == ["people: 2 of 3 rows rejected (66.7%)", "people is fine again"]
    assert "bad.csv" in said[-1]["message"]


@pytest.mark.thorough
async def test_what_nobody_accepts_is_given_up_and_says_why_without_the_address(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with mail(refuses=True) as box:
        monkeypatch.setenv("OPS_URL", box.address)
        async with telling(home) as wire:
            run = await wire.run("people:v1", "absent.csv")
            (told,) = await settled(wire, run)
            record = orjson.dumps((await wire.get(run["id"])).document).decode()
    assert (told["state"], told["attempts"]) == ("given_up", outbox.MOST_ATTEMPTS)
    assert "554" in told["error"]
    state = (home / ".lume/state/runs.sqlite").read_bytes()
    for secret in (PASSWORD, "lume.example", "lume:"):
        assert not any(secret in text for text in (told["error"], record, caplog.text))
    assert PASSWORD.encode() not in state
    assert box.address.encode() not in state


@pytest.mark.thorough
async def test_a_service_that_hangs_is_left_in_time(
    home: Path, ops: Inbox[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sends a byte now and then, so that no time limit of a socket ends it; others are told meanwhile."""
    monkeypatch.setattr(message_carrier, "PATIENCE", 5.0)
    came = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        try:
            writer.write(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.close()

    slow = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with slow:
        monkeypatch.setenv("SLOW_URL", f"json://127.0.0.1:{slow.sockets[0].getsockname()[1]}/")
        async with telling(home, RULES.replace('"OPS_URL"', '"SLOW_URL", "OPS_URL"')) as wire:
            run = await wire.run("people:v1", "absent.csv")
            await ops.until(1)
            await came.wait()
            async with asyncio.timeout(20):
                while not any(one["error"] for one in await deliveries(wire, run)):
                    await asyncio.sleep(0.02)
            errors = {one["error"] for one in await deliveries(wire, run) if one["receiver"] == "SLOW_URL"}
    assert errors == {"no answer within 5 s"}


async def test_the_file_is_read_again_and_a_mistake_changes_nothing(
    home: Path, ops: Inbox[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    async def logged(words: str) -> None:
        async with asyncio.timeout(20):
            while words not in caplog.text:
                await asyncio.sleep(0.01)

    path = home / "arrivals.toml"
    async with telling(home) as wire:
        path.write_text(RULES.replace("FAILED", "FAILD", 1))
        await logged("message[0].on: 'FAILD' is not one of FAILED, ")
        await wire.run("people:v1", "absent.csv")
        await ops.until(1)
        path.write_text(RULES.replace("OPS_URL", "OPS_ULR"))
        await logged("to_env names OPS_ULR, a variable that is not set; the previous messages stay valid")
        path.write_text(RULES.replace("peop*", "notes"))
        await logged("was read again: 1 messages")
        await wire.run("people:v1", "absent2.csv")
        await wire.run("notes:v1", "absent.csv")
        said = await ops.until(2)
    assert [one["title"] for one in said] == ["people: a run failed", "notes: a run failed"]
    assert "arrivals.toml:3: message[0].on" in caplog.text


@pytest.mark.thorough
async def test_addresses_are_not_in_the_environment_of_workers(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that does not look like a URL with a password."""
    address = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    monkeypatch.setenv("OPS_URL", address)
    (home / "slow.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(20_000)))
    async with process_of(home, forked=False) as (server, wire):
        run = (await wire.submit("slow:v1", "slow.csv")).document
        await wire.until(run["id"], "TRANSFORMING")
        assert address.encode() in Path(f"/proc/{server.pid}/environ").read_bytes()
        found = [Path(f"/proc/{pid}/environ").read_bytes() for pid in workers(server.pid)]
        assert found
        assert not any(address.encode() in one for one in found)


@asynccontextmanager
async def process_of(home: Path, rules: str = RULES, **options: Any) -> AsyncIterator[Any]:
    path = home / "arrivals.toml"
    path.write_text(rules)
    async with process(home, messages=str(path), public_url=CONSOLE, **options) as found:
        yield found


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (None, "messages: .*absent.toml can't be read: No such file"),
        ("[[message]]\non = []", r"(?s)messages: .*:2: message\[0\]\.on: must be a list of 1 to 20 strings"),
        (RULES.replace("OPS_URL", "NOT_THERE"), "to_env names NOT_THERE, a variable that is not set"),
        ("x", "is not TOML"),
    ],
)
async def test_a_start_that_is_refused(home: Path, rules: str | None, words: str) -> None:
    path = home / "absent.toml"
    if rules is not None:
        path.write_text(rules)
    with pytest.raises(ConfigurationError, match=words):
        async with serve(home, messages=path):
            pass


async def test_browsers_may_open_the_console_by_its_public_name(home: Path) -> None:
    async with serve(home, public_url="https://lume.example.com/x") as wire:
        for host, status in (("lume.example.com", 200), ("other.example.com", 421)):
            async with wire.session.get("/", headers={"Host": host}) as answer:
                assert answer.status == status


async def test_without_a_file_nothing_is_written(home: Path) -> None:
    async with serve(home) as wire:
        await wire.run("people:v1", "absent.csv")
    with closing(sqlite3.connect(home / ".lume/state/runs.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM notices").fetchone() == (0,)


ARRIVALS = """
[[arrival]]
name = "acme"
flow = "people"
from = "in/*.csv"
ready = { quiet = "100ms" }

[[message]]
on = ["arrival.refused"]
to_env = ["OPS_URL"]
"""


@posix_only
async def test_a_file_that_is_not_submitted(home: Path, ops: Inbox[dict[str, Any]]) -> None:
    """The file of the arrivals has the messages, too. A refusal is told once, also after a restart."""
    (home / "in").mkdir()
    (home / "in/link.csv").symlink_to("/etc/passwd")
    file = home / "arrivals.toml"
    file.write_text(ARRIVALS)
    for _ in range(2):
        async with serve(home, arrivals=file) as wire:
            (told,) = await ops.until(1)
            async with asyncio.timeout(30):
                while (await wire.ask("GET", "/v1/arrivals")).document["arrivals"][0]["watched"] is None:
                    await asyncio.sleep(0.02)
    assert told["title"] == "people: a file was refused"
    assert "in/link.csv, of the arrival acme for people" in told["message"]
    assert len(ops.received) == 1
