"""Tasks a second in Airflow: mapped, direct, a batch, and mapped tasks as other providers have them, over one server.

    export PYTHONPATH=.:tests:airflow/tests
    nice .components/airflow/bin/python -m real_airflow.benchmark [sources] [sources of a large batch]

Four Airflow processes, PostgreSQL and the embedded server share the machine; a run takes a fraction of a second, and
all tasks may be retried. "again" are the tries after a task's first one, "failed" the tasks that did not succeed, and
"runs" those that the server has counted.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from benchmarks._bench import header
from real_airflow.deployment import deployment, free_port, until
from real_airflow.judge import judge
from real_airflow.postgres import postgres
from real_airflow.rest import Api
from real_airflow.scenarios import Stage

CONTESTANTS = {
    "dbt_style": "mapped, each polls by itself (as other providers)",
    "mapped": "mapped LumeRunOperator, deferred",
    "direct": "mapped LumeDirectRunOperator",
    "batch": "one LumeRunBatchOperator",
}

LIMIT = 1800.0
"""Seconds for one contestant."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sources", type=int, nargs="?", default=100, help="of each contestant (100)")
    parser.add_argument(
        "large", type=int, nargs="?", default=2000, help="of the large batch (2,000); 0: none"
    )
    sizes = parser.parse_args()
    header("apache-airflow", "lume-client", "duckdb")
    with tempfile.TemporaryDirectory(prefix="lume-airflow-") as folder:
        home = Path(folder)
        home.chmod(0o755)  # PostgreSQL runs as another user
        with postgres(home / "postgres", free_port()) as database, judge(home) as counting:
            server = (counting.server.base_url, counting.server.api_key)
            with deployment(home, database, server) as airflow:
                api = Api(airflow)
                api.ready(*CONTESTANTS)
                compare(Stage(airflow, api, counting), sizes.sources, sizes.large)


def compare(stage: Stage, count: int, large: int) -> None:
    """Each contestant once, after a run with two sources to warm up."""
    for dag in CONTESTANTS:
        ended(stage, dag, stage.api.trigger(dag, sources=stage.judge.files(f"warm-{dag}", 2)))
    print(f"\n{'':50}{'sources':>8}{'s':>8}{'s a task':>10}{'again':>7}{'failed':>8}{'runs':>7}{'load':>6}")
    for dag, name in CONTESTANTS.items():
        print(line(stage, dag, name, count), flush=True)
    if large:
        print(line(stage, "batch", CONTESTANTS["batch"], large), flush=True)


def line(stage: Stage, dag: str, name: str, count: int) -> str:
    """One contestant's; failures are counted, they don't end the comparison."""
    sources = stage.judge.files(f"{dag}-{count}", count)
    load, begun = os.getloadavg()[0], time.monotonic()
    run = stage.api.trigger(dag, sources=sources)
    done = ended(stage, dag, run)
    lasted = time.monotonic() - begun
    query = "SELECT state, greatest(try_number - 1, 0) FROM task_instance WHERE dag_id = %s AND run_id = %s"
    tasks = stage.api.select(query, dag, run)
    failed = sum(state != "success" for state, _ in tasks)
    again = sum(number for _, number in tasks)
    runs = sum(stage.judge.counts(sources).values())
    time_taken = (
        f"{lasted:8.1f}{lasted / count:10.3f}" if done else f"{'not within ' + str(int(LIMIT)) + ' s':>18}"
    )
    return f"{name:50}{count:8,}{time_taken}{again:7}{failed:8}{runs:7,}{load:6.1f}"


def ended(stage: Stage, dag: str, run: str) -> bool:
    """Wait for the end of a DAG run; whether it came in time."""
    try:
        until(f"the end of {dag} {run}", lambda: stage.api.ended(dag, run), LIMIT)
    except TimeoutError:
        return False
    return True


if __name__ == "__main__":
    main()
