"""Every file of a folder, in one task: for hundreds or thousands of sources.

The task holds no worker while it waits. Killed or retried, it submits nothing twice and submits the rest.
"""

from pathlib import Path
from typing import Any

from airflow.sdk import Param, dag, task

from lume_airflow.operators import LumeRunBatchOperator


@dag(schedule=None, params={"folder": Param("examples/data", type="string")}, tags=["lume"])
def clean_folder() -> None:
    """List, clean all, sum up."""

    @task
    def list_files(params: dict[str, Any] | None = None) -> list[str]:
        """The sources of this DAG run."""
        assert params is not None
        return sorted(str(path) for path in Path(params["folder"]).glob("*.csv"))

    clean = LumeRunBatchOperator(
        task_id="clean",
        flow_version="customer_cleaner:v1",
        source_paths=list_files(),
        max_failures=10,
        retries=2,
    )

    @task
    def sum_up(cleaned: dict[str, Any]) -> str:
        """Counts and places; the rows stay where they are."""
        for failure in cleaned["failures"]:
            print(f"{failure['source_path']}: {failure['status']}: {failure['message']}")
        return f"{cleaned['rows_mapped']} rows of {cleaned['sources']} files, {cleaned['rows_rejected']} rejected"

    sum_up(clean.output)


clean_folder()
