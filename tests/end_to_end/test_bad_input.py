"""What users get wrong most often: one clear, typed error each, in both APIs, that says what to do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lume_async
import lume_local
import lume_sync

FLOW = """
flow = "people"
version = "v1"
[columns.id]
type = "integer"
required = true
[columns.email]
format = "email"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("bad")
    (home / "flows").mkdir()
    (home / "flows" / "people.v1.toml").write_text(FLOW)
    for name in ("good.csv", "awaited.csv", "sync.csv"):
        (home / name).write_text("id,email\n1,ann@example.org\n")
    (home / "no-email.csv").write_text("id,mail\n1,ann@example.org\n")
    return home


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[lume_local.ThreadedServer]:
    with lume_local.serve_in_thread(flows=folder / "flows", data=folder / "data", roots=[folder]) as running:
        yield running


Facade = Callable[..., object]


@pytest.fixture(params=["async", "sync"])
def facade(request: pytest.FixtureRequest, server: lume_local.ThreadedServer) -> Facade:
    """`facade(operation, *arguments, key=...)`: the same call through either client, waited for where it is a run."""

    def sync(operation: str, *arguments: object, key: str = server.api_key) -> object:
        with lume_sync.Client(key, base_url=server.base_url) as client:
            done = getattr(client, operation)(*arguments)
            return done.wait() if isinstance(done, lume_sync.LumeRun) else done

    async def asynchronous(operation: str, *arguments: object, key: str) -> object:
        async with lume_async.Client(key, base_url=server.base_url) as client:
            done = await getattr(client, operation)(*arguments)
            return await done.wait() if isinstance(done, lume_async.LumeRun) else done

    def awaited(operation: str, *arguments: object, key: str = server.api_key) -> object:
        import asyncio

        return asyncio.run(asynchronous(operation, *arguments, key=key))

    return sync if request.param == "sync" else awaited


def test_a_wrong_key(facade: Facade) -> None:
    with pytest.raises(lume_sync.AuthenticationError) as caught:
        facade("run", "people:v1", "good.csv", key="a-wrong-key-of-some-length")
    assert caught.value.status_code == 401
    assert "a-wrong-key" not in str(caught.value)


def test_an_unknown_flow_version(facade: Facade) -> None:
    with pytest.raises(lume_sync.InvalidRequestError, match="peeple:v9"):
        facade("run", "peeple:v9", "good.csv")


def test_a_missing_file(facade: Facade) -> None:
    with pytest.raises(lume_sync.RunFailedError, match=r"nowhere\.csv") as caught:
        facade("run", "people:v1", "nowhere.csv")
    assert caught.value.run.status == "FAILED"


def test_a_file_outside_the_roots(facade: Facade) -> None:
    with pytest.raises(lume_sync.InvalidRequestError, match="outside of the folders"):
        facade("run", "people:v1", "/etc/passwd")


def test_a_missing_column(facade: Facade) -> None:
    with pytest.raises(lume_sync.RunFailedError, match="email"):
        facade("run", "people:v1", "no-email.csv")


def test_an_unknown_run(facade: Facade) -> None:
    with pytest.raises(lume_sync.RunNotFoundError, match="run_nobody"):
        facade("run_status", "run_nobody")


def test_the_same_source_twice(facade: Facade) -> None:
    source = f"{facade.__name__}.csv"
    first = facade("run", "people:v1", source)
    with pytest.raises(lume_sync.DuplicateRunError, match="force_rerun") as caught:
        facade("run", "people:v1", source)
    assert caught.value.run_id == first.id  # type: ignore[attr-defined]


def test_no_configuration_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LUME_API_KEY", "LUME_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    lume_sync.close()
    with pytest.raises(lume_sync.ConfigurationError, match=r"base_url.*LUME_BASE_URL"):
        lume_sync.run("people:v1", "good.csv")
    monkeypatch.setenv("LUME_BASE_URL", "http://127.0.0.1:1")
    with pytest.raises(lume_sync.ConfigurationError, match=r"api_key.*LUME_API_KEY"):
        lume_sync.run("people:v1", "good.csv")


def test_a_closed_client(server: lume_local.ThreadedServer) -> None:
    client = server.client()
    run = client.run("people:v1", "good.csv")
    client.close()
    for call in (
        lambda: client.run_status(run.id),
        run.wait,
        run.refresh,
        lambda: next(iter(client.list_runs())),
    ):
        with pytest.raises(lume_sync.ClientClosedError, match="closed"):
            call()
