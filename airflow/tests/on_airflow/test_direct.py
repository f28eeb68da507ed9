"""Direct mode: the arguments of a task that no worker has prepared."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lume_airflow import _direct
from lume_airflow.operators import LumeDirectRunOperator
from lume_airflow.triggers import LumeDirectTrigger


class TI:
    """A mapped task instance, with the outputs of other tasks."""

    dag_id, run_id = "dag", "manual__1"

    def __init__(self, map_index: int, **outputs: Any) -> None:
        self.pulled = 0
        self.map_index = map_index
        self.outputs = outputs

    async def axcom_pull(self, *, task_ids: str, key: str, map_indexes: int) -> Any:
        assert map_indexes == -1, "the triggerer may fetch single XComs only"
        self.pulled += 1
        return self.outputs[task_ids]


async def arguments(expanded: Any, ti: TI, **partial: Any) -> Any:
    trigger = LumeDirectTrigger()
    trigger._task_instance = ti  # type: ignore[assignment]
    ti.task = SimpleNamespace(expand_input=SimpleNamespace(value=expanded), partial_kwargs=partial)  # type: ignore[attr-defined]
    return await _direct.arguments(trigger, None, {"ds": "2026-01-02"})


def output(task_id: str, *, is_mapped: bool = False) -> Any:
    return SimpleNamespace(operator=SimpleNamespace(task_id=task_id, is_mapped=is_mapped), key="return_value")


async def test_a_list_is_picked_from_by_the_map_index() -> None:
    found = await arguments({"source_path": ["a", "b", "c"]}, TI(1), flow_version="f:v1")
    assert found == {"source_path": "b", "flow_version": "f:v1"}


async def test_so_is_the_output_of_a_task() -> None:
    found = await arguments({"source_path": output("list")}, TI(2, list=["a", "b", "c"]))
    assert found == {"source_path": "c"}


async def test_which_is_fetched_once_for_all_tasks() -> None:
    ti = TI(2, list=["a", "b", "c"])
    await asyncio.gather(*(arguments({"source_path": output("list")}, ti) for _ in range(200)))
    assert ti.pulled == 1


async def test_the_last_argument_varies_fastest() -> None:
    expanded = {"flow_version": ["1", "2"], "source_path": ["a", "b"]}
    for map_index, chosen in enumerate(["1a", "1b", "2a", "2b"]):
        found = await arguments(expanded, TI(map_index))
        assert found["flow_version"] + found["source_path"] == chosen


async def test_templates_are_rendered() -> None:
    found = await arguments({"source_path": ["{{ ds }}.csv"]}, TI(0), run_metadata={"day": "{{ ds }}"})
    assert found == {"source_path": "2026-01-02.csv", "run_metadata": {"day": "2026-01-02"}}


async def test_a_file_name_is_no_template() -> None:
    found = await arguments({"source_path": ["a.csv"]}, TI(0), task_id="{{ not rendered }}")
    assert found["task_id"] == "{{ not rendered }}"


@pytest.mark.parametrize(
    "expanded",
    [
        {"source_path": SimpleNamespace()},
        {"source_path": output("x", is_mapped=True)},
        [{"source_path": "a"}],
    ],
)
async def test_what_only_a_worker_can_look_up(expanded) -> None:
    assert await arguments(expanded, TI(0)) is None


@pytest.mark.parametrize("place", [lambda it: it, lambda it: {"n": it}, lambda it: {"n": [{"m": it}]}])
async def test_the_output_of_a_task_is_seen_wherever_it_stands(place) -> None:
    given = {"source_path": ["a"]}, TI(0)
    assert await arguments(*given, run_metadata=place(output("x"))) is None
    assert await arguments(*given, run_metadata=place("x")) is not None

    sdk = pytest.importorskip("airflow.sdk", reason="Airflow before 3 has no direct mode")

    @sdk.task
    def up() -> str:
        return "a"

    with sdk.DAG("dag"):
        made = [
            LumeDirectRunOperator(
                task_id=f"clean_{n}", flow_version="f:v1", source_path="a", run_metadata={"n": place(value)}
            )
            for n, value in enumerate(["x", up(), up().map(str)])
        ]
    assert [each.start_from_trigger for each in made] == [True, False, False]


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("partial", lambda it: it),
        ("partial", lambda it: {"n": [{"m": it}]}),
        ("expand", lambda it: it),
        ("expand", lambda it: {"n": it}),
    ],
)
async def test_so_it_is_in_a_mapped_task_as_the_triggerer_reads_it(place, where) -> None:
    """A stored DAG has objects of its own for the outputs of tasks."""
    sdk = pytest.importorskip("airflow.sdk", reason="Airflow before 3 has no direct mode")
    from airflow.serialization.serialized_objects import DagSerialization

    @sdk.task
    def up() -> str:
        return "a"

    def stored(value: Any) -> Any:
        with sdk.DAG("dag", schedule=None) as dag:
            given = {"task_id": "clean", "flow_version": "f:v1"}
            if where == "partial":
                given["run_metadata"] = value()
            mapped = {"run_metadata": [value()]} if where == "expand" else {}
            LumeDirectRunOperator.partial(**given).expand(source_path=["a"], **mapped)
        return DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict["clean"]

    async def found(task: Any) -> Any:
        trigger, ti = LumeDirectTrigger(), TI(0)
        trigger._task_instance = ti  # type: ignore[assignment]
        ti.task = task  # type: ignore[attr-defined]
        return await _direct.arguments(trigger, None, {"ds": "2026-01-02"})

    assert await found(stored(lambda: place(up()))) is None
    assert (await found(stored(lambda: {"n": "{{ ds }}"})))["run_metadata"] == {"n": "2026-01-02"}
