"""What is done to Airflow, and how many runs there may be then."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from real_airflow.deployment import Deployment, until
from real_airflow.judge import Judge
from real_airflow.rest import Api

TAKEN_UP = 5.0
"""Seconds until a trigger runs that was given to a triggerer; nothing tells when it does."""


class Stage:
    """Airflow, its API and the server that counts."""

    def __init__(self, airflow: Deployment, api: Api, judge: Judge) -> None:
        self.airflow = airflow
        self.api = api
        self.judge = judge
        self.kills = 0

    def kill(self, name: str) -> None:
        """Kill a process, start it anew, and wait until Airflow sees it again."""
        newest = self._newest_job()
        self.kill_only(name)
        until(f"the {name} is back", lambda: self._newest_job() > newest, timeout=180)

    def kill_only(self, name: str) -> None:
        """Kill a process and start it anew, and leave it at that."""
        self.airflow.restart(name)
        self.kills += 1

    def kill_tasks(self, *, workers: bool) -> int:
        """Kill the processes of all tasks; how many there were."""
        tasks = self.airflow.kill_tasks(workers=workers)
        self.kills += bool(tasks)
        return tasks

    def deferred(self, dag: str, run: str) -> None:
        """Wait until the task waits in the triggerer: before that Airflow has nobody whose `on_kill` to call."""
        query = (
            "SELECT 1 FROM task_instance JOIN trigger ON trigger.id = task_instance.trigger_id "
            "WHERE dag_id = %s AND run_id = %s AND triggerer_id IS NOT NULL"
        )
        until("the triggerer has taken the task", lambda: self.api.select(query, dag, run))
        time.sleep(TAKEN_UP)

    def success(self, dag: str, run: str, timeout: float = 600.0) -> None:
        """Wait for the end of a DAG run."""
        state = until(f"the end of {dag} {run}", lambda: self.api.ended(dag, run), timeout)
        assert state == "success", f"{dag} {run}: {state}, {self.api.states(dag, run)}"

    def each_once(self, sources: list[str]) -> None:
        """The judgement: one run for every source."""
        wrong = {source: count for source, count in self.judge.counts(sources).items() if count != 1}
        assert not wrong, f"not one run each: {wrong}"

    def _newest_job(self) -> int:
        (row,) = self.api.select("SELECT coalesce(max(id), 0) FROM job")
        return int(row[0])


Scenario: TypeAlias = Callable[[Stage, Any], str]


def _killed_while_deferred(name: str) -> Scenario:
    def scenario(stage: Stage, _sizes: Any) -> str:
        source = stage.judge.file(f"{name}-deferred")
        with stage.judge.held():
            run = stage.api.trigger("single", source=source)
            stage.deferred("single", run)
            stage.kill(name)
        stage.success("single", run)
        stage.each_once([source])
        return "the task succeeds, 1 run"

    return scenario


def worker_between_submission_and_deferral(stage: Stage, _sizes: Any) -> str:
    source = stage.judge.file("gap")
    pause = stage.airflow.home / "pause"
    pause.touch()
    run = stage.api.trigger("single", source=source)
    until("the task pauses", lambda: list(stage.airflow.home.glob("pausing-*")))
    stage.judge.until_submitted(source)
    assert stage.kill_tasks(workers=True)
    pause.unlink()
    stage.success("single", run)
    stage.each_once([source])
    (row,) = stage.api.select("SELECT try_number FROM task_instance WHERE run_id = %s", run)
    assert row[0] > 1, "the task was not tried again"
    return f"try {row[0]} finds the run and succeeds, 1 run"


def triggerer_in_a_batch(stage: Stage, _sizes: Any) -> str:
    sources = stage.judge.files("half", 200)
    run = stage.api.trigger("batch", sources=sources)
    until("half of the batch", lambda: sum(stage.judge.counts(sources).values()) >= 100, every=0.2)
    stage.kill("triggerer")
    stage.success("batch", run)
    stage.each_once(sources)
    return "the batch goes on, 200 runs for 200 sources"


def triggerer_in_direct_mode(stage: Stage, _sizes: Any) -> str:
    sources = stage.judge.files("direct-killed", 50)
    with stage.judge.held():
        run = stage.api.trigger("direct", sources=sources)
        until("the runs", lambda: sum(stage.judge.counts(sources).values()) >= 25, every=0.2)
        stage.kill("triggerer")
    stage.success("direct", run)
    stage.each_once(sources)
    return "the tasks succeed, 50 runs for 50 tasks"


def marked_failed(stage: Stage, _sizes: Any) -> str:
    source = stage.judge.file("marked")
    with stage.judge.held():
        run = stage.api.trigger("single", source=source)
        stage.deferred("single", run)
        stage.api.mark("single", run, "clean", "failed")
        until("the run is cancelled", lambda: stage.judge.statuses(source) == ["CANCELLED"], 60)
    return "the run is CANCELLED"


def batch_marked_failed(stage: Stage, _sizes: Any) -> str:
    sources = stage.judge.files("marked-batch", 20)
    with stage.judge.held():
        run = stage.api.trigger("batch", sources=sources)
        until("the runs", lambda: sum(stage.judge.counts(sources).values()) == 20, every=0.2)
        stage.api.mark("batch", run, "clean", "failed")
        wanted = [["CANCELLED"]] * 20
        until("they are cancelled", lambda: [stage.judge.statuses(each) for each in sources] == wanted, 60)
    return "its 20 runs are CANCELLED"


def timed_out_dag_run(stage: Stage, _sizes: Any) -> str:
    source = stage.judge.file("short")
    with stage.judge.held():
        stage.api.trigger("short", source=source)
        until("the run is cancelled", lambda: stage.judge.statuses(source) == ["CANCELLED"], 180)
    return "the run is CANCELLED"


def cleared_after_success(stage: Stage, _sizes: Any) -> str:
    source = stage.judge.file("cleared")
    run = stage.api.trigger("single", source=source)
    stage.success("single", run)
    stage.api.clear("single", run, "clean")
    stage.judge.until_submitted(source, 2)
    stage.success("single", run)
    assert stage.judge.statuses(source) == ["SUCCEEDED", "SUCCEEDED"]
    return "a second run, on purpose"


def cleared_while_deferred(stage: Stage, _sizes: Any) -> str:
    source = stage.judge.file("cleared-early")
    with stage.judge.held():
        run = stage.api.trigger("single", source=source)
        stage.deferred("single", run)
        stage.api.clear("single", run, "clean")
        until("the run is cancelled", lambda: stage.judge.statuses(source)[:1] == ["CANCELLED"], 60)
    stage.success("single", run)
    assert stage.judge.statuses(source) == ["CANCELLED", "SUCCEEDED"]
    return "the first run is CANCELLED, a second one succeeds"


def cleared_in_direct_mode(stage: Stage, _sizes: Any) -> str:
    sources = stage.judge.files("cleared-direct", 5)
    run = stage.api.trigger("direct", sources=sources)
    stage.success("direct", run)
    stage.api.clear("direct", run, "clean")
    until("runs again", lambda: set(stage.judge.counts(sources).values()) == {2})
    stage.success("direct", run)
    assert set(stage.judge.counts(sources).values()) == {2}
    return "each task has a second run, on purpose"


def sensor(stage: Stage, _sizes: Any) -> str:
    source = stage.judge.file("somebody-elses")
    with stage.judge.held():
        run = stage.api.trigger("waiting", run=stage.judge.submit(source))
        stage.deferred("waiting", run)
        stage.kill("triggerer")
    stage.success("waiting", run)
    stage.each_once([source])
    return "it succeeds with the run, 1 run"


def lineage_and_link(stage: Stage, _sizes: Any) -> str:
    """What is left of a task: with the listener in the task's process, and the API of the web interface."""
    source, direct = stage.judge.file("traced", rows=10, bad=2), stage.judge.files("linked", 2)
    run, mapped = stage.api.trigger("single", source=source), stage.api.trigger("direct", sources=direct)
    stage.success("single", run)
    stage.success("direct", mapped)
    event = until("the event of the end", lambda: _completed(stage, source), 60)
    read, (written, rejected) = event["inputs"][0]["inputFacets"], event["outputs"]
    assert read["inputStatistics"]["rowCount"] == 12
    assert [each["actual"] for each in read["dataQualityAssertions"]["assertions"]] == ["2"]
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 10
    assert rejected["outputFacets"]["outputStatistics"]["rowCount"] == 2
    pages = {run.source_path: f"{stage.judge.server.base_url}/#/runs/{run.id}" for run in stage.judge.runs()}
    assert stage.api.link("single", run, "clean") == pages[source]
    assert [stage.api.link("direct", mapped, "clean", n) for n in range(2)] == [
        pages[each] for each in direct
    ]
    return "source, outputs, counts and reasons are reported; the button leads to the run"


def _completed(stage: Stage, source: str) -> Any:
    """The event of the end of the task that has read it."""
    lines = stage.airflow.lineage.read_text().splitlines() if stage.airflow.lineage.exists() else []
    events = [json.loads(line) for line in lines]
    done = [event for event in events if event.get("eventType") == "COMPLETE" and event["inputs"]]
    return next((event for event in done if event["inputs"][0]["name"] == source), None)


def backfill(stage: Stage, _sizes: Any) -> str:
    sources = [stage.judge.file(f"2026-01-0{day}") for day in range(2, 7)]
    stage.api.backfill("daily", "2026-01-02", "2026-01-06")
    until("the first run", lambda: sum(stage.judge.counts(sources).values()) >= 1, every=0.2)
    stage.kill("scheduler")
    _all_days(stage, sources)
    stage.each_once(sources)
    return "5 runs for 5 days"


def backfill_again(stage: Stage, _sizes: Any) -> str:
    sources = [stage.judge.file(f"2026-01-1{day}") for day in range(2, 5)]
    stage.api.backfill("daily", "2026-01-12", "2026-01-14")
    _all_days(stage, sources)
    stage.api.backfill("daily", "2026-01-12", "2026-01-14", reprocess="completed")
    until("second runs", lambda: set(stage.judge.counts(sources).values()) == {2})
    _all_days(stage, sources)
    assert set(stage.judge.counts(sources).values()) == {2}
    return "each day has a second run, on purpose"


def _all_days(stage: Stage, sources: list[str]) -> None:
    """Wait for the end of the DAG runs of these days."""
    days = [Path(source).stem for source in sources]

    def done() -> bool:
        day = "(logical_date AT TIME ZONE 'UTC')::date::text"
        query = f"SELECT state FROM dag_run WHERE dag_id = 'daily' AND {day} = ANY(%s)"
        states = stage.api.select(query, days)
        assert ("failed",) not in states
        return states == [("success",)] * len(days)

    until("all days", done, 600)


def storm(stage: Stage, sizes: Any) -> str:
    """Kills at random moments over all kinds of tasks, until there were enough."""
    chance, killed, everything = random.Random(7), 0, []
    turn = 0
    while killed < sizes.kills:
        turn += 1
        single = stage.judge.files(f"storm{turn}-single", 4)
        direct, batch = (
            stage.judge.files(f"storm{turn}-direct", 20),
            stage.judge.files(f"storm{turn}-batch", 40),
        )
        everything += [*single, *direct, *batch]
        runs = [("single", stage.api.trigger("single", source=source)) for source in single]
        runs += [("direct", stage.api.trigger("direct", sources=direct))]
        runs += [("batch", stage.api.trigger("batch", sources=batch))]
        for _ in range(25):
            time.sleep(chance.uniform(0.5, 6))
            if all(stage.api.ended(*run) for run in runs):
                break
            victim = chance.choice(["triggerer", "triggerer", "scheduler", "tasks", "tasks", "workers"])
            if victim in ("tasks", "workers"):
                killed += bool(stage.kill_tasks(workers=victim == "workers"))
            else:
                stage.kill_only(victim)
                killed += 1
        for run in runs:
            stage.success(*run)
        stage.each_once(everything)
        print(f"  {killed} kills, {len(everything)} sources with one run each", flush=True)
    return f"{killed} kills, {len(everything):,} runs for {len(everything):,} sources"


def direct_mode(stage: Stage, sizes: Any) -> str:
    return _timed(stage, "direct", sizes.tasks)


def batch_mode(stage: Stage, sizes: Any) -> str:
    return _timed(stage, "batch", sizes.batch)


def _timed(stage: Stage, dag: str, count: int) -> str:
    sources = stage.judge.files(f"timed-{dag}", count)
    begun = time.monotonic()
    run = stage.api.trigger(dag, sources=sources)
    stage.success(dag, run, 1800)
    lasted = time.monotonic() - begun
    stage.each_once(sources)
    return f"{count:,} sources in {lasted:.1f} s, {lasted / count:.3f} s each, one run each"


SCENARIOS: dict[str, Scenario] = {
    "kill -9 of the triggerer, task deferred": _killed_while_deferred("triggerer"),
    "kill -9 of the scheduler, task deferred": _killed_while_deferred("scheduler"),
    "kill -9 of the worker between submission and deferral": worker_between_submission_and_deferral,
    "kill -9 of the triggerer in the middle of a batch": triggerer_in_a_batch,
    "kill -9 of the triggerer in direct mode": triggerer_in_direct_mode,
    "marked failed": marked_failed,
    "a batch marked failed": batch_marked_failed,
    "dagrun_timeout": timed_out_dag_run,
    "cleared after success": cleared_after_success,
    "cleared while deferred": cleared_while_deferred,
    "cleared in direct mode": cleared_in_direct_mode,
    "backfill, kill -9 of the scheduler": backfill,
    "backfill again, reprocessing what is completed": backfill_again,
    "kill -9 of the triggerer, sensor deferred": sensor,
    "lineage and link": lineage_and_link,
    "kills at random": storm,
    "tasks in direct mode": direct_mode,
    "a batch": batch_mode,
}
