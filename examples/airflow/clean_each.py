"""A task for every file, without a process for any of them: each has its own retries, page and place in the grid.

The triggerer submits the runs and ends the tasks (Airflow 3.3).
"""

from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from lume_airflow.operators import LumeDirectRunOperator


@dag(schedule=None, params={"folder": Param("examples/data", type="string")}, tags=["lume"])
def clean_each() -> None:
    """List, then a mapped task for each file."""

    @task
    def list_files(params: dict[str, Any] | None = None) -> list[str]:
        """The sources of this DAG run."""
        assert params is not None
        return sorted(str(path) for path in Path(params["folder"]).glob("*.csv"))

    LumeDirectRunOperator.partial(
        task_id="clean",
        flow_version="customer_cleaner:v1",
        retries=2,
        map_index_template="{{ task.source_path }}",
    ).expand(source_path=list_files())


clean_each()
