"""The DAGs of `./scripts/test-airflow`. Their sources are named in the `conf` of a DAG run."""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task
from real_airflow.dbt_style import PollingOperator

from lume_airflow.operators import LumeDirectRunOperator, LumeRunBatchOperator, LumeRunOperator
from lume_airflow.sensors import LumeRunSensor

HOME = Path(os.environ.get("LUME_TEST_HOME", "/nonexistent"))
FLOW = "customer_cleaner:v1"
AGAIN: dict[str, Any] = {"retries": 100, "retry_delay": timedelta(seconds=1)}


class PausesBeforeDeferral(LumeRunOperator):
    """Stops between the submission and the deferral, as long as a file says so."""

    def defer(self, **arguments: Any) -> Any:
        place = HOME / "pause"
        if place.exists():
            (HOME / f"pausing-{os.getpid()}").touch()
            while place.exists():
                time.sleep(0.1)
        super().defer(**arguments)


@task(**AGAIN)
def rows_of(cleaned: Any) -> int:
    """What the next task gets are dicts."""
    return sum(result["rows_mapped"] for result in cleaned)


@dag(schedule=None)
def single() -> None:
    PausesBeforeDeferral(
        task_id="clean",
        flow_version=FLOW,
        source_path="{{ dag_run.conf['source'] }}",
        force_rerun=True,
        **AGAIN,
    )


@dag(schedule=None, dagrun_timeout=timedelta(seconds=20))
def short() -> None:
    LumeRunOperator(task_id="clean", flow_version=FLOW, source_path="{{ dag_run.conf['source'] }}")


@task(**AGAIN)
def sources(dag_run: Any = None) -> list[str]:
    return list(dag_run.conf["sources"])


@dag(schedule=None)
def mapped() -> None:
    LumeRunOperator.partial(task_id="clean", flow_version=FLOW, force_rerun=True, **AGAIN).expand(
        source_path=sources()
    )


@dag(schedule=None)
def dbt_style() -> None:
    PollingOperator.partial(task_id="clean", flow_version=FLOW, **AGAIN).expand(source_path=sources())


@dag(schedule=None)
def direct() -> None:
    clean = LumeDirectRunOperator.partial(
        task_id="clean", flow_version=FLOW, force_rerun=True, **AGAIN
    ).expand(source_path=sources())
    rows_of(clean.output)


@dag(schedule=None)
def batch() -> None:
    LumeRunBatchOperator(
        task_id="clean", flow_version=FLOW, source_paths=sources(), force_rerun=True, **AGAIN
    )


@dag(schedule=None)
def waiting() -> None:
    LumeRunSensor(task_id="wait", run_id="{{ dag_run.conf['run'] }}", **AGAIN)


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, end_date=datetime(2026, 1, 31))
def daily() -> None:
    LumeRunOperator(task_id="clean", flow_version=FLOW, source_path=f"{HOME}/files/{{{{ ds }}}}.csv", **AGAIN)


single()
short()
mapped()
dbt_style()
direct()
batch()
waiting()
daily()
