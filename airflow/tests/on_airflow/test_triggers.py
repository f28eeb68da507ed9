"""Triggers as the triggerer runs them; without its database."""

import asyncio
import json
from typing import Any

import anyio
import pytest
from on_airflow.support import FakeTI, ended, events, keep_busy, runs, task_try, this_dag, use

from lume_airflow import _direct, triggers
from lume_airflow._compat import TaskSkippedEvent, TaskSuccessEvent, TriggerEvent
from lume_airflow._options import BatchOptions, RunOptions
from lume_airflow._work import start
from lume_airflow.hooks import LumeHook
from lume_airflow.triggers import LumeBatchTrigger, LumeDirectTrigger, LumeRunTrigger, LumeWaitTrigger


def options(source: str, **others: Any) -> RunOptions:
    return RunOptions(flow_version="customer_cleaner:v1", source_path=source, **others)


async def begun(wanted: RunOptions, deadline: float | None = None) -> LumeRunTrigger:
    run = await start(await LumeHook().asettings(), wanted, task_try())
    return LumeRunTrigger(wanted.as_kwargs(), task_try().as_kwargs(), run.id, deadline)


def again(trigger: Any) -> Any:
    """As the triggerer makes it anew, from what is stored."""
    path, kwargs = trigger.serialize()
    assert path == f"lume_airflow.triggers.{type(trigger).__name__}"
    return type(trigger)(**kwargs)


async def test_a_trigger_that_starts_anew_finds_the_run(connection, sources) -> None:
    trigger = await begun(options(sources.good(), force_rerun=True))
    first = asyncio.ensure_future(events(trigger))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    (event,) = await events(again(trigger))
    assert event.payload["result"]["status"] == "SUCCEEDED"
    assert len(await runs(connection)) == 1


async def test_a_refused_key_is_an_event(connection, sources, monkeypatch) -> None:
    trigger = await begun(options(sources.good()))
    use(monkeypatch, connection.base_url, "wrong")
    (event,) = await events(trigger)
    assert "AuthenticationError" in event.payload["error"]


@pytest.mark.parametrize("kill", [True, False])
async def test_a_killed_task_leaves_a_run_only_where_asked(connection, sources, kill) -> None:
    await keep_busy(connection, sources)
    trigger = await begun(options(sources.good(), cancel_on_kill=kill))
    await trigger.on_kill()
    assert await ended(connection) == ["CANCELLED" if kill else "SUCCEEDED"]
    assert set(await ended(connection, of="other")) == {"SUCCEEDED"}


async def test_a_killed_batch_leaves_no_runs(connection, sources) -> None:
    wanted = BatchOptions(
        flow_version="customer_cleaner:v1", source_paths=[sources.good(f"{n}.csv") for n in range(8)]
    )
    trigger = again(LumeBatchTrigger(wanted.as_kwargs(), task_try().as_kwargs()))
    working = asyncio.ensure_future(events(trigger))
    with anyio.fail_after(30):
        while len(await runs(connection)) < 8:
            await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.wait([working])
    await trigger.on_kill()
    statuses = await ended(connection)
    assert len(statuses) == 8
    assert "CANCELLED" in statuses


async def test_waiting_for_the_run_of_somebody_else(connection, sources) -> None:
    run = await start(await LumeHook().asettings(), options(sources.good()), task_try())
    (event,) = await events(again(LumeWaitTrigger("lume_default", run.id)))
    assert event.payload["result"]["run_id"] == run.id
    (event,) = await events(LumeWaitTrigger("lume_default", run.id, deadline=0.0))
    assert "timed_out" in event.payload or event.payload["result"]["run_id"] == run.id
    (event,) = await events(LumeWaitTrigger("lume_default", "run_unknown"))
    assert "RunNotFoundError" in event.payload["error"]


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """What triggers wait for besides their runs."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(triggers, "sleep", sleep)
    return waits


async def test_a_deferred_task_is_not_resumed_before_the_scheduler_knows_of_its_deferral(
    connection, sources, slept
) -> None:
    run = await start(await LumeHook().asettings(), options(sources.good()), task_try())
    trigger = LumeWaitTrigger("lume_default", run.id)
    await events(trigger)
    assert slept == []  # in `dag.test()` there is no scheduler
    trigger.trigger_id = 1
    await events(trigger)
    (waited,) = slept
    assert triggers.SETTLED - 4 < waited < triggers.SETTLED


class DirectTI(FakeTI):
    task = None

    async def axcom_pull(self, **wanted: Any) -> Any:
        return self.xcom_pull(**wanted)


@pytest.fixture(autouse=True)
def xcoms(monkeypatch) -> dict[str, Any]:
    """Where XComs go that a trigger pushes: in life, over the triggerer's supervisor into the database."""
    pushed: dict[str, Any] = {}

    async def aset(key: str, value: Any, **place: Any) -> None:
        assert place == {"dag_id": this_dag(), "task_id": "clean", "run_id": "manual__1", "map_index": -1}
        pushed[key] = value

    monkeypatch.setattr(_direct.XCom, "aset", aset, raising=False)
    return pushed


def direct(wanted: RunOptions, ti: FakeTI, task: Any = None) -> LumeDirectTrigger:
    trigger = again(LumeDirectTrigger(wanted.as_kwargs()))
    trigger._task_instance = ti
    trigger.render_template_fields({"ds": "2026-01-02"})
    return trigger


async def test_a_direct_task_ends_in_the_triggerer(connection, sources, xcoms, slept) -> None:
    trigger = direct(options(sources.good()), DirectTI())
    trigger.trigger_id = 1
    (event,) = await events(trigger)
    assert slept == []  # no process has deferred it
    assert isinstance(event, TaskSuccessEvent)
    assert set(xcoms) == {"return_value"}  # one push: Airflow would store it as text
    assert event.xcoms == {"_link_LumeRunLink": xcoms["return_value"]["url"], "lume_delivered": [1]}


@pytest.mark.parametrize(
    ("source", "choice", "kind"),
    [
        ("partial", "success", TaskSuccessEvent),
        ("partial", "skip", TaskSkippedEvent),
        ("partial", "fail", TriggerEvent),  # a worker fails it
        ("bad", "success", TriggerEvent),  # a worker retries it
    ],
)
async def test_how_a_direct_task_ends(connection, sources, source, choice, kind) -> None:
    wanted = options(getattr(sources, source)(), on_partial=choice)
    (event,) = await events(direct(wanted, DirectTI()))
    assert type(event) is kind


async def test_a_direct_task_with_outlets_ends_on_a_worker(connection, sources) -> None:
    ti = DirectTI()
    ti.task = type("Task", (), {"outlets": ["an asset"], "template_ext": ()})()
    (event,) = await events(direct(options(sources.good()), ti))
    assert type(event) is TriggerEvent
    assert event.payload["result"]["status"] == "SUCCEEDED"


async def test_started_anew_a_direct_task_finds_its_run(connection, sources) -> None:
    wanted = options(sources.good(), force_rerun=True)
    await events(direct(wanted, DirectTI()))
    await events(direct(wanted, DirectTI()))
    assert len(await runs(connection)) == 1


async def test_a_cleared_direct_task_runs_again_and_its_retry_does_not(connection, sources, xcoms) -> None:
    wanted, ti = options(sources.good()), DirectTI()
    ti.xcoms = xcoms
    (event,) = await events(direct(wanted, ti))
    ti.xcoms["lume_delivered"] = json.dumps(event.xcoms["lume_delivered"])  # as Airflow stores it
    ti.try_number = 2
    await events(direct(wanted, ti))
    second = ti.xcoms["return_value"]["run_id"]
    await events(direct(wanted, ti))  # the triggerer was killed before it had stored the event
    assert ti.xcoms["return_value"]["run_id"] == second
    assert len(await runs(connection)) == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on_partial": "sucess"}, "on_partial must be one of"),
        ({"source_path": None}, "source_path must be a string"),
        ({"timeout": "60"}, "timeout must be a number"),
    ],
)
async def test_a_wrong_argument_that_nobody_has_checked_is_an_event(connection, wrong, said) -> None:
    """Of a mapped task: no operator of it is made before it starts."""
    trigger = direct(options("a.csv"), DirectTI())
    trigger._given = {**(trigger._given or {}), **wrong}
    (event,) = await events(trigger)
    assert said in event.payload["error"]
    assert event.payload["final"]


async def test_a_task_that_is_not_in_the_dag_starts_on_a_worker(connection) -> None:
    (event,) = await events(LumeDirectTrigger())
    assert event.payload == {"on_worker": True}
