"""The example DAGs by `dag.test()`: Airflow's own code around ours, in one process."""

import importlib.util
from pathlib import Path
from typing import Any

import anyio
import pytest
from on_airflow.support import ROOT, runs

pytestmark = [pytest.mark.timeout(180), pytest.mark.usefixtures("database", "connection")]


def load(name: str) -> Any:
    path = ROOT / "examples" / "airflow" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)()


def outcome(name: str, **params: Any) -> dict[str, Any]:
    """The states of the tasks, mapped ones in a list, and what they returned."""
    dag = load(name)
    for task in dag.tasks:
        task.retries = 0  # five minutes apart
    run = dag.test(run_conf=params)
    instances = sorted(run.get_task_instances(), key=lambda ti: (ti.task_id, ti.map_index))
    seen: dict[str, Any] = {"states": {}, "values": {}}
    for ti in instances:
        place = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        seen["states"][place] = str(ti.state)
        seen["values"][place] = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
    return {**seen, "assets": assets(run.run_id)}


def assets(run_id: str) -> list[tuple[str, Any]]:
    """What Airflow knows to have been updated, and how many rows were rejected on the way."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        events = session.query(AssetEvent).filter_by(source_run_id=run_id).all()
        return [(event.uri, event.extra["lume_rows_rejected"]) for event in events]


def test_good_rows_go_on_and_rejects_to_a_person(connection, sources) -> None:
    seen = outcome("clean_customers", source=sources.partial())
    assert set(seen["states"].values()) == {"success"}
    assert seen["values"]["report"].endswith("customers.parquet")
    assert seen["values"]["review"].endswith("rejects.csv")
    assert seen["assets"] == [(Path(seen["values"]["report"]).as_uri(), 1)]
    assert len(anyio.run(runs, connection)) == 1


def test_without_rejects_nobody_is_asked(sources) -> None:
    seen = outcome("clean_customers", source=sources.good())
    assert seen["states"] == {
        "clean": "success",
        "report": "success",
        "has_rejects": "success",
        "review": "skipped",
    }


def test_a_failed_run_stops_the_rest(sources) -> None:
    seen = outcome("clean_customers", source=sources.bad())
    assert seen["states"]["report"] == "upstream_failed"


def test_a_folder_in_one_task(sources) -> None:
    for n in range(5):
        sources.good(f"{n}.csv")
    seen = outcome("clean_folder", folder=str(sources.folder))
    assert seen["values"]["sum_up"] == "40 rows of 5 files, 0 rejected"


def test_a_task_for_each_file(sources) -> None:
    for n in range(3):
        sources.good(f"{n}.csv")
    seen = outcome("clean_each", folder=str(sources.folder))
    results = [value for place, value in seen["values"].items() if place.startswith("clean")]
    assert [result["rows_mapped"] for result in results] == [8, 8, 8]
    assert len({result["run_id"] for result in results}) == 3
