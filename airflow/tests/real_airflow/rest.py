"""What a user does: trigger, mark, clear and backfill over Airflow's REST API. Its tables say what happened."""

import json
import urllib.error
import urllib.request
from typing import Any

import psycopg2

from real_airflow.deployment import Deployment, until


class Api:
    """Airflow as its users see it."""

    def __init__(self, airflow: Deployment) -> None:
        self._base = f"http://127.0.0.1:{airflow.port}"
        self._airflow = airflow
        self._token = ""

    def ready(self, *dags: str) -> None:
        """Wait until the API answers and knows these DAGs."""
        until("the API answers", self._log_in)
        for dag in dags:
            until(f"the DAG {dag} is known", lambda dag=dag: self._has(dag))

    def trigger(self, dag: str, **conf: Any) -> str:
        """Start a DAG run; its id."""
        body = {"logical_date": None, "conf": conf}
        return str(self._patiently("POST", f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def mark(self, dag: str, run: str, task: str, state: str) -> None:
        """Mark a task."""
        place = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        self._patiently("PATCH", place, {"new_state": state})

    def clear(self, dag: str, run: str, *tasks: str) -> None:
        """Clear tasks, so that they run again."""
        body = {
            "dry_run": False,
            "dag_run_id": run,
            "task_ids": list(tasks),
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self._patiently("POST", f"/api/v2/dags/{dag}/clearTaskInstances", body)

    def link(self, dag: str, run: str, task: str, map_index: int = -1) -> str:
        """Where the button of a task leads."""
        place = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/links?map_index={map_index}"
        return str(self._patiently("GET", place, None)["extra_links"]["Lume run"])

    def backfill(self, dag: str, first: str, last: str, reprocess: str = "none") -> None:
        """Make DAG runs for these days, after the end of the backfill before: a DAG has one at a time.

        The scheduler notes its end some time after that of its last DAG run, every 30 seconds.
        """
        running = "SELECT 1 FROM backfill WHERE dag_id = %s AND completed_at IS NULL"
        until("the end of the backfill before", lambda: not self.select(running, dag))
        body = {
            "dag_id": dag,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "reprocess_behavior": reprocess,
            "max_active_runs": 10,
        }
        self._patiently("POST", "/api/v2/backfills", body)

    def states(self, dag: str, run: str | None = None) -> dict[tuple[str, str, int], str]:
        """The state of each task: (DAG run, task, map index)."""
        query = "SELECT run_id, task_id, map_index, state FROM task_instance WHERE dag_id = %s"
        rows = self.select(query, dag)
        return {(row[0], row[1], row[2]): row[3] for row in rows if run in (None, row[0])}

    def ended(self, dag: str, run: str) -> str | None:
        """The state of a DAG run that has ended."""
        rows = self.select("SELECT state FROM dag_run WHERE dag_id = %s AND run_id = %s", dag, run)
        return str(rows[0][0]) if rows and rows[0][0] in ("success", "failed") else None

    def select(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of Airflow's database."""
        connection = psycopg2.connect(f"postgresql://{self._airflow.database}")
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, values)
                return list(cursor.fetchall())
        finally:
            connection.close()

    def _has(self, dag: str) -> bool:
        query = "SELECT 1 FROM dag WHERE dag_id = %s AND is_stale = false"
        return bool(self.select(query, dag))

    def _log_in(self) -> bool:
        try:
            self._token = self._send("GET", "/auth/token", None)["access_token"]
        except (OSError, KeyError):
            return False
        return True

    def _patiently(self, method: str, path: str, body: Any) -> Any:
        """Once more where the API server was killed or the token has expired."""
        for last in (False, False, True):
            try:
                return self._send(method, path, body)
            except urllib.error.HTTPError as error:
                said = error.read().decode(errors="replace")
                if last or error.code < 401:
                    raise RuntimeError(f"{method} {path}: {error.code} {said[:500]}") from error
                until("the API answers", self._log_in)
            except OSError:
                if last:
                    raise
                until("the API answers", self._log_in)
        raise AssertionError("the loop returns or raises")

    def _send(self, method: str, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")
