import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import moto_server
import postgres_server
import pytest
import sftp_server
import store_servers
from local import stores
from local.flows import PEOPLE_CSV, write_flows
from local.loads import table_run
from local.processes import leave_out_present_workers
from local.states import Interleaved
from local.wire import Wire

import lume_local
from lume_local._runs.postgres import postgres_state
from lume_local._runs.postgres.postgres_store import PostgresStore
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.sqlite.sqlite_store import SqliteStore
from lume_local._serve.settings import ServerSettings


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state of a server that has compiled the tests' flow versions: the servers of all tests begin with it."""
    folder = tmp_path_factory.mktemp("template")
    with lume_local.serve_in_thread(write_flows(folder / "flows"), folder / ".lume"):
        pass
    return folder / ".lume/state/runs.sqlite"


@pytest.fixture
def only_own_workers_count() -> None:
    """For tests that ask for their `own_workers`: to find those that are there takes 5 ms."""
    leave_out_present_workers()


@pytest.fixture(autouse=True)
def operations_of_the_store_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing relies on their being done at once, as they are in the servers of other folders' tests."""
    monkeypatch.setattr(
        "lume_local._serve.state.SqliteStore", lambda *places: Interleaved(SqliteStore(*places))
    )
    monkeypatch.setattr(postgres_state, "PostgresStore", lambda *given: Interleaved(PostgresStore(*given)))


@pytest.fixture
def home(tmp_path: Path, state: Path) -> Path:
    """A folder with flow versions, their compiled forms and one source."""
    write_flows(tmp_path / "flows")
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    for name in (".lume", ".lume/state"):
        (tmp_path / name).mkdir(mode=0o700)
    shutil.copy(state, tmp_path / ".lume/state/runs.sqlite")
    return tmp_path


@pytest.fixture(scope="session")
def state_in_postgresql(
    postgres: postgres_server.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The same as `state`, in a database."""
    folder = tmp_path_factory.mktemp("template")
    with stores.database(postgres) as url:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(stores.STATE_ENV, url)
            with lume_local.serve_in_thread(
                write_flows(folder / "flows"), folder / ".lume", state_env=stores.STATE_ENV
            ):
                pass
        yield url


@pytest.fixture(scope="session")
def states_in_postgresql(postgres: postgres_server.Server, state_in_postgresql: str) -> stores.Databases:
    """The same, in any number of databases."""
    return stores.Databases(postgres, state_in_postgresql)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def each_state(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Servers of the test have their state in a file, and then in PostgreSQL."""
    if request.param == "sqlite":
        yield request.param
        return
    (home / ".lume/state/runs.sqlite").unlink()
    states = request.getfixturevalue("states_in_postgresql")
    settings = ServerSettings.of

    def elsewhere(flows: Any, data: Any, roots: Any, options: Any, **named: Any) -> ServerSettings:
        return settings(flows, data, roots, {"state_env": stores.STATE_ENV} | options, **named)

    with states.lent(states.take()) as url:
        monkeypatch.setenv(stores.STATE_ENV, url)
        monkeypatch.setattr(ServerSettings, "of", elsewhere)
        yield request.param


@pytest.fixture
async def server(home: Path) -> AsyncIterator[lume_local.Server]:
    # One worker: nearly no test needs a second one, whose start would cost more than all the rest of the test.
    async with lume_local.serve(
        flows=home / "flows", data=home / ".lume", roots=[home], max_active=1
    ) as server:
        yield server


@pytest.fixture
async def wire(server: lume_local.Server) -> AsyncIterator[Wire]:
    wire = Wire(server.base_url, server.api_key)
    async with wire.session:
        yield wire


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Server]:
    with postgres_server.running() as server:
        yield server


@pytest.fixture(params=stores.KINDS, scope="session")
def states(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> stores.Stores:
    """Opens empty stores of each kind."""
    if request.param == "sqlite":
        return stores.SqliteStores(tmp_path_factory.mktemp("states"))
    in_postgresql: stores.Stores = request.getfixturevalue("in_postgresql")
    return in_postgresql


@pytest.fixture(scope="session")
def in_postgresql(postgres: postgres_server.Server) -> stores.PostgresStores:
    return stores.PostgresStores(postgres)


@pytest.fixture
async def store(states: stores.Stores) -> AsyncIterator[SqlStore]:
    """An empty store of each kind."""
    async with states.opened() as store:
        yield store


@pytest.fixture(params=["sqlite", "postgresql", "duckdb"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[table_run.Database]:
    """An empty database of each kind, whose URL is in the environment."""
    if request.param != "postgresql":
        opened = getattr(table_run, request.param)(tmp_path, monkeypatch)
    else:
        opened = table_run.postgresql(request.getfixturevalue("postgres"), monkeypatch)
    with opened as database:
        yield database


@pytest.fixture(scope="session")
def moto() -> Iterator[moto_server.Bucket]:
    with moto_server.running() as bucket:
        yield bucket


@pytest.fixture
def sftp_site() -> Iterator[sftp_server.SftpSite]:
    """A server of its own, since tests stop it and change its keys."""
    with sftp_server.running() as site:
        yield site


@pytest.fixture
def bucket(moto: moto_server.Bucket, monkeypatch: pytest.MonkeyPatch) -> moto_server.Bucket:
    """An empty bucket of an S3 that is in the environment."""
    moto.empty()
    moto_server.in_environment(moto, monkeypatch)
    return moto


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    with store_servers.azurite() as address:
        yield address


@pytest.fixture(scope="session")
def fake_gcs() -> Iterator[str]:
    with store_servers.fake_gcs() as address:
        yield address


@pytest.fixture
def container(azurite: str, monkeypatch: pytest.MonkeyPatch) -> store_servers.Place:
    """An empty container of an Azure that is in the environment."""
    return _in_environment(store_servers.Container(azurite), monkeypatch)


@pytest.fixture(params=["azurite", "fake_gcs"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> store_servers.Place:
    """An empty container or bucket of an Azure or a Google that is in the environment."""
    kind = {"azurite": store_servers.Container, "fake_gcs": store_servers.GoogleBucket}[request.param]
    return _in_environment(kind(request.getfixturevalue(request.param)), monkeypatch)


@pytest.fixture(params=["azurite", "moto"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> store_servers.Place:
    """An empty container or bucket that takes objects as Azure or Google (or S3) does, and is in the environment."""
    if request.param == "azurite":
        made: store_servers.Place = store_servers.Container(request.getfixturevalue("azurite"))
    else:
        bucket: moto_server.Bucket = request.getfixturevalue("moto")
        bucket.empty()
        kind = store_servers.Amazon if request.param == "s3" else store_servers.Google
        made = kind(moto_server.BUCKET, bucket.url)
    return _in_environment(made, monkeypatch)


def _in_environment(place: store_servers.Place, monkeypatch: pytest.MonkeyPatch) -> store_servers.Place:
    for name, value in place.environment.items():
        monkeypatch.setenv(name, value)
    return place
