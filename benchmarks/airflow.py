"""Tasks a second in Airflow: mapped, direct, a batch, and mapped tasks as other providers have them, over one server.

    PYTHONPATH=.:tests .components/airflow/bin/python benchmarks/airflow.py [sources]

Four Airflow processes, PostgreSQL and the embedded server share the machine; a run takes a fraction of a second.
"""

import sys
import tempfile
import time
from pathlib import Path

from _bench import header
from real_airflow.deployment import deployment, free_port
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


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    header("apache-airflow", "lume-client", "duckdb")
    home = Path(tempfile.mkdtemp(prefix="lume-airflow-"))
    home.chmod(0o755)  # PostgreSQL runs as another user
    with postgres(home / "postgres", free_port()) as database, judge(home) as counting:
        server = (counting.server.base_url, counting.server.api_key)
        with deployment(home, database, server) as airflow:
            api = Api(airflow)
            api.ready(*CONTESTANTS)
            stage = Stage(airflow, api, counting)
            warm_up = {
                dag: stage.api.trigger(dag, sources=counting.files(f"warm-{dag}", 2)) for dag in CONTESTANTS
            }
            for dag, run in warm_up.items():
                stage.success(dag, run)
            print(f"\n{'':52} {count:>6} sources, s  tasks/s  s a task")
            for dag, name in CONTESTANTS.items():
                lasted = timed(stage, dag, count)
                print(f"{name:52} {lasted:17.1f} {count / lasted:8.2f} {lasted / count:9.3f}", flush=True)


def timed(stage: Stage, dag: str, count: int) -> float:
    sources = stage.judge.files(dag, count)
    begun = time.monotonic()
    stage.success(dag, stage.api.trigger(dag, sources=sources), 3600)
    lasted = time.monotonic() - begun
    stage.each_once(sources)
    return lasted


if __name__ == "__main__":
    main()
