"""Where the state of a server is, and what is said if it can't be used."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import postgres_server
import pytest
from local import stores
from local.flows import slow_rows
from local.servers import serve
from local.stores import STATE_ENV

import lume_local
from lume_async import ConfigurationError
from lume_local._runs.sql.tables import VERSION


@pytest.fixture
def url(
    home: Path, postgres: postgres_server.Server, state_in_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of a state, which is in the environment."""
    (home / ".lume/state/runs.sqlite").unlink()
    with stores.database(postgres, state_in_postgresql) as url:
        monkeypatch.setenv(STATE_ENV, url)
        yield url


async def test_a_server_says_where_its_state_is(home: Path, url: str) -> None:
    async with serve(home, state_env=STATE_ENV) as wire:
        answer = await wire.ask("GET", "/v1/server")
        assert answer.document["state"] == {"kind": "postgresql", "form": VERSION}
        assert "backup_age_seconds" not in (await wire.ask("GET", "/healthz")).document
        assert (await wire.ask("GET", "/readyz")).status == 200
        assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
    assert not (home / ".lume/state/runs.sqlite").exists()
    async with serve(home, state_env=STATE_ENV) as wire:  # another one, with the same state
        (run,) = (await wire.ask("GET", "/v1/runs")).document["items"]
        assert run["status"] == "SUCCEEDED"


async def test_no_worker_and_no_text_has_the_url(
    home: Path, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "slow.csv").write_text(slow_rows())
    folders = home / "flows", home / ".lume", [home]
    async with lume_local.serve(*folders, state_env=STATE_ENV) as server, server.client() as client:
        run = await client.run("slow:v1", "slow.csv")
        while not server.workers():
            await run.refresh()
        for pid in server.workers().values():
            assert postgres_server.QUOTED.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        await run.cancel()
        assert postgres_server.QUOTED not in repr(server)
    assert postgres_server.QUOTED not in caplog.text
    assert postgres_server.PASSWORD not in caplog.text


async def test_a_variable_that_is_not_set(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="state_env: the variable NOT_SET is not set"):
        async with serve(home, state_env="NOT_SET"):
            pass


async def test_a_folder_that_has_a_state_of_its_own(
    home: Path, postgres: postgres_server.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_ENV, postgres.url)
    with pytest.raises(
        ConfigurationError, match="has a state of its own, which LUME_STATE_URL would replace"
    ):
        async with serve(home, state_env=STATE_ENV):
            pass


@pytest.mark.parametrize("netloc", ["lume:wr0ng@{}", "lume:wr0ng@127.0.0.1:1"])
async def test_a_database_that_can_not_be_used(
    home: Path, url: str, netloc: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = urlsplit(url).netloc.rpartition("@")[2]
    monkeypatch.setenv(STATE_ENV, urlsplit(url)._replace(netloc=netloc.format(place)).geturl())
    with pytest.raises(
        ConfigurationError, match="the state in the PostgreSQL of LUME_STATE_URL can't be used"
    ) as caught:
        async with serve(home, state_env=STATE_ENV):
            pass
    assert "wr0ng" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
