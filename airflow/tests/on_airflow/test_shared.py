"""One client and one monitor for all triggers of a loop and a connection."""

import asyncio

import anyio
import pytest
from on_airflow.support import use

from lume_airflow import _shared
from lume_airflow._shared import shared
from lume_airflow.hooks import LumeHook
from lume_async import RunNotFoundError


async def settings():
    return await LumeHook().asettings()


async def test_triggers_of_a_loop_share_a_client(connection) -> None:
    found = await settings()
    async with shared(found) as one, shared(found) as other:
        assert one.client is other.client


async def test_another_key_has_another_client(connection, monkeypatch) -> None:
    first = await settings()
    use(monkeypatch, connection.base_url, "rotated")
    async with shared(first) as one, shared(await settings()) as other:
        assert one.client is not other.client


async def test_it_lingers_for_who_comes_next(connection) -> None:
    found = await settings()
    async with shared(found) as one:
        client = one.client
    await asyncio.sleep(0)
    async with shared(found) as later:
        assert later.client is client


async def test_unused_it_is_closed(connection, monkeypatch) -> None:
    monkeypatch.setattr(_shared, "LINGER", 0.01)
    found = await settings()
    async with shared(found) as one:
        pass
    with anyio.fail_after(10):
        await one._owner
    async with shared(found) as later:
        assert later is not one
        assert [flow.flow_version async for flow in later.client.list_flows()]


async def test_each_run_reaches_whoever_waits_for_it(connection, sources) -> None:
    async with shared(await settings()) as lume:
        runs = [await lume.client.run("customer_cleaner:v1", sources.good(f"{n}.csv")) for n in range(3)]
        ended = await asyncio.gather(*(lume.wait(run) for run in [*runs, *runs]))
    assert [run.id for run in ended] == [run.id for run in [*runs, *runs]]
    assert {str(run.status) for run in ended} == {"SUCCEEDED"}


async def test_a_run_that_is_unknown_disturbs_no_other(connection, sources) -> None:
    async with shared(await settings()) as lume:
        run = await lume.client.run("customer_cleaner:v1", sources.good())
        with pytest.raises(RunNotFoundError):
            await lume.wait(lume.client.attach("run_unknown"))
        assert (await lume.wait(run)).succeeded


async def test_who_stops_waiting_leaves_the_others(connection, sources) -> None:
    async with shared(await settings()) as lume:
        run = await lume.client.run("customer_cleaner:v1", sources.good())
        with anyio.move_on_after(0):
            await lume.wait(run)
        assert (await lume.wait(run)).succeeded
        assert lume._waiting == {}


async def test_a_client_that_is_closed_is_replaced(connection, sources) -> None:
    found = await settings()
    async with shared(found) as lume:
        await lume.client.aclose()
        with anyio.fail_after(10):
            await lume._owner
    async with shared(found) as later:
        assert later is not lume
        assert [flow.flow_version async for flow in later.client.list_flows()]
