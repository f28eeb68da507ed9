"""A journal is of one server: it names it, and refuses a client of another one."""

import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fake_service import Service

from lume_async import ConfigurationError, RunRequest
from lume_async._batch.journal import Journal
from lume_async.testing import fake_client

HERE = Path(__file__).parent
LUME = "lume"
REQUESTS = [RunRequest("f:v1", f"{n}.csv") for n in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db"


def facts(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as db:
        return dict(db.execute("SELECT name, value FROM facts WHERE name != 'written_by'"))


async def batch(service: Service, path: Path, base_url: str) -> list[str | None]:
    client, _ = fake_client(service, clock=service.clock, base_url=base_url)
    return [outcome.run_id async for outcome in client.run_many(REQUESTS, journal=path)]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://Lume.Example.com", "https://lume.example.com"),
        ("https://lume.example.com:443/", "https://lume.example.com"),
        ("http://lume.example.com:80", "http://lume.example.com"),
        ("http://lume.example.com:443", "http://lume.example.com:443"),
        ("https://lume.example.com/Team/", "https://lume.example.com/Team"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("HTTP://127.0.0.1:8000", "http://127.0.0.1:8000"),
    ],
)
async def test_an_address_has_one_spelling(path: Path, url: str, address: str) -> None:
    await batch(Service(), path, url)
    assert facts(path) == {"service": LUME, "server": address}


async def test_a_batch_goes_on_with_the_server_that_it_began_with(path: Path) -> None:
    service = Service()
    first = await batch(service, path, "https://Lume.example.com:443/")
    assert facts(path) == {"service": LUME, "server": "https://lume.example.com"}
    assert sorted(await batch(service, path, "https://lume.example.com"), key=str) == sorted(first, key=str)
    assert len(service.created) == 3


async def test_another_server_is_refused_with_both_addresses_and_the_way_out(path: Path) -> None:
    service, other = Service(), Service()
    await batch(service, path, "https://old.example.com")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        await batch(other, path, "https://new.example.com")
    said = str(caught.value)
    assert (
        "is of lume at https://old.example.com, but this client uses lume at https://new.example.com" in said
    )
    assert not other.log
    assert path.read_bytes() == before

    # What the message says for a server that has moved.
    program, file, forget = shlex.split(said.partition("forget its address: ")[2])
    assert program == "sqlite3"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(forget)
    assert len(await batch(service, path, "https://new.example.com")) == 3
    assert facts(path) == {"service": LUME, "server": "https://new.example.com"}
    assert len(service.created) == 3


def test_another_contract_is_refused(path: Path) -> None:
    Journal.open(path, (LUME, "https://a.example.com")).close()
    with pytest.raises(ConfigurationError, match=r"is of lume at .*, but this client uses other at "):
        Journal.open(path, ("other", "https://a.example.com"))
    Journal.open(path, (LUME, "https://a.example.com")).close()


def test_a_long_address_leaves_room_for_what_to_do(path: Path) -> None:
    Journal.open(path, (LUME, f"https://a.example.com/{'a' * 1000}")).close()
    with pytest.raises(ConfigurationError, match=r"DELETE FROM facts WHERE name = 'server'\"$"):
        Journal.open(path, (LUME, f"https://a.example.com/{'b' * 1000}"))


def test_a_refused_journal_of_a_killed_process_keeps_what_it_has(path: Path, tmp_path: Path) -> None:
    """Its newest entries are in the log, which opening it may move into the file."""
    home = (LUME, "https://a.example.com")
    journal = Journal.open(path, home)
    journal.sending(0, REQUESTS[0], "the-key", 1.0)
    copy = tmp_path / "killed.db"
    for suffix in ("", "-wal", "-mark"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    journal.close()
    with pytest.raises(ConfigurationError):
        Journal.open(copy, (LUME, "https://b.example.com"))
    again = Journal.open(copy, home)
    assert again.entry(0, REQUESTS[0], again.rows(0, 1)[0]) is not None
    again.close()


@pytest.mark.parametrize("form", [1, 2])
def test_a_journal_of_an_earlier_version_takes_the_server_of_its_next_start(form: int, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript((HERE / "journals" / f"form-{form}.sql").read_text())
    home = (LUME, "https://a.example.com")
    journal = Journal.open(path, home)
    assert journal.count == 5
    journal.close()
    assert facts(path) == {"service": LUME, "server": "https://a.example.com"}
    with pytest.raises(ConfigurationError):
        Journal.open(path, (LUME, "https://b.example.com"))
