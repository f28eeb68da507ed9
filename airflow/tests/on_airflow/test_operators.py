"""Operators on a worker: what they submit, how they end, and what they leave behind."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from on_airflow.support import context, ended, keep_busy, runs, use

from lume_airflow._compat import AirflowException, AirflowFailException, AirflowSkipException
from lume_airflow.operators import LumeDirectRunOperator, LumeRunBatchOperator, LumeRunOperator
from lume_airflow.sensors import LumeRunSensor
from lume_airflow.triggers import LumeBatchTrigger, LumeRunTrigger, LumeWaitTrigger
from lume_async import AuthenticationError

try:
    from airflow.sdk.exceptions import TaskDeferralTimeout, TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferralError as TaskDeferralTimeout
    from airflow.exceptions import TaskDeferred


def clean(source: str, **others: Any) -> LumeRunOperator:
    arguments = {"task_id": "clean", "flow_version": "customer_cleaner:v1", "deferrable": False, **others}
    return LumeRunOperator(source_path=source, **arguments)


def count(server: Any) -> int:
    return len(anyio.run(runs, server))


def test_waiting_on_the_worker(connection, sources) -> None:
    given = context()
    result = clean(sources.partial()).execute(given)
    assert result["status"] == "PARTIAL_FAILED"
    assert (result["rows_mapped"], result["rows_rejected"], result["reused"]) == (8, 1, False)
    assert given["ti"].xcoms["_link_LumeRunLink"] == result["url"]
    assert result["run_id"] in result["url"]


def test_by_default_it_waits_in_the_triggerer(connection, sources) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        clean(sources.good(), deferrable=True).execute(context())
    trigger = deferred.value.trigger
    assert isinstance(trigger, LumeRunTrigger)
    assert deferred.value.timeout is None
    assert connection.api_key not in str(trigger.serialize())
    assert count(connection) == 1


def test_what_has_ended_already_needs_no_trigger(connection, sources) -> None:
    source = sources.good()
    first = clean(source).execute(context())
    second = clean(source, deferrable=True).execute(context(run_id="manual__2"))
    assert second["run_id"] == first["run_id"]
    assert second["reused"]


def test_killed_between_submission_and_deferral_it_finds_the_run(connection, sources) -> None:
    source, killed = sources.good(), RuntimeError("killed")

    class Killed(LumeRunOperator):
        def defer(self, **_: Any) -> Any:
            raise killed

    with pytest.raises(RuntimeError, match="killed"):
        Killed(task_id="clean", flow_version="customer_cleaner:v1", source_path=source).execute(context())
    clean(source, retries=1).execute(context(try_number=2, max_tries=1))
    assert count(connection) == 1


def test_a_partial_failure_is_the_authors_choice(connection, sources) -> None:
    source = sources.partial()
    for choice, expected in (("skip", AirflowSkipException), ("fail", AirflowFailException)):
        given = context()
        with pytest.raises(expected, match="rejected rows: 1 of 9"):
            clean(source, on_partial=choice).execute(given)
        assert given["ti"].xcoms["return_value"]["rows_rejected"] == 1


def test_a_failed_run_fails_the_task_and_may_be_retried(connection, sources) -> None:
    with pytest.raises(AirflowException, match="FAILED: ") as failed:
        clean(sources.bad()).execute(context())
    assert not isinstance(failed.value, AirflowFailException)


def test_what_no_retry_mends_fails_at_once(connection, sources) -> None:
    with pytest.raises(AirflowFailException, match="unknown_flow"):
        clean(sources.good(), flow_version="unknown_flow:v1").execute(context())


def test_a_server_that_is_away_may_be_retried(monkeypatch, sources) -> None:
    use(monkeypatch, "http://127.0.0.1:9", "key")
    with pytest.raises(AirflowException, match="ApiConnectionError") as failed:
        clean(sources.good()).execute(context())
    assert not isinstance(failed.value, AirflowFailException)


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("on_partial", "ignore", "on_partial"),
        ("on_clear", "never", "on_clear"),
        ("run_metadata", {"airflow": 1}, "airflow"),
    ],
)
def test_wrong_arguments_are_named(connection, sources, name, wrong, said) -> None:
    task = clean(sources.good())
    setattr(task, name, wrong)  # set later, or rendered
    with pytest.raises(ValueError, match=said):
        task.execute(context())


@pytest.mark.parametrize(
    ("operator", "wrong"),
    [
        (LumeRunOperator, {"on_partial": "sucess"}),
        (LumeRunBatchOperator, {"on_partial": "sucess"}),
        (LumeDirectRunOperator, {"on_partial": "sucess"}),
        (LumeRunOperator, {"on_clear": "never"}),
        (LumeRunBatchOperator, {"on_clear": "never"}),
        (LumeDirectRunOperator, {"timeout": "60"}),
        (LumeRunOperator, {"timeout": -5}),
        (LumeRunBatchOperator, {"timeout": float("nan")}),
        (LumeDirectRunOperator, {"timeout": timedelta(-1)}),
        (LumeRunOperator, {"force_rerun": "no"}),
        (LumeRunBatchOperator, {"layout": ""}),
        (LumeDirectRunOperator, {"layout": 5}),
        (LumeRunOperator, {"cancel_on_kill": "no"}),
        (LumeRunBatchOperator, {"deferrable": "no"}),
        (LumeDirectRunOperator, {"flow_version": None}),
        (LumeRunOperator, {"flow_version": ""}),
        (LumeRunBatchOperator, {"lume_conn_id": None}),
        (LumeDirectRunOperator, {"run_metadata": [1]}),
        (LumeRunOperator, {"run_metadata": {"a": {1}}}),
        (LumeRunBatchOperator, {"run_metadata": {"a": float("nan")}}),
        (LumeDirectRunOperator, {"run_metadata": {"airflow": 1}}),
        (LumeRunBatchOperator, {"max_active": 0}),
        (LumeRunBatchOperator, {"max_active": "5"}),
        (LumeRunBatchOperator, {"max_failures": "5"}),
        (LumeRunBatchOperator, {"max_failures": -1}),
        (LumeRunBatchOperator, {"source_paths": (name for name in "ab")}),
        (LumeRunBatchOperator, {"source_paths": map(str, [1])}),
        (LumeRunBatchOperator, {"source_paths": {"a": 1}}),
        (LumeRunBatchOperator, {"source_paths": {"a"}}),
        (LumeRunBatchOperator, {"source_paths": b"ab"}),
        (LumeRunBatchOperator, {"source_paths": "a.csv"}),
        (LumeRunBatchOperator, {"source_paths": None}),
        (LumeRunBatchOperator, {"source_paths": [Path("a")]}),
        (LumeRunBatchOperator, {"source_paths": ["{{ ds }}", 5]}),
        *((operator, {"source_path": 5}) for operator in (LumeRunOperator, LumeDirectRunOperator)),
        *((operator, {"source_path": ""}) for operator in (LumeRunOperator, LumeDirectRunOperator)),
    ],
)
def test_wrong_arguments_are_named_when_the_dag_is_read(operator, wrong) -> None:
    sources = {"source_paths": ["a"]} if operator is LumeRunBatchOperator else {"source_path": "a"}
    right = {"task_id": "clean", "flow_version": "f:v1", **sources}
    operator(**right)
    (name,) = wrong
    said = rf"{operator.__name__} 'clean': {name}\b.*(must|is|are)"
    with pytest.raises(ValueError, match=said):
        operator(**{**right, **wrong})
    if name not in sources:  # of mapped tasks, Airflow makes no operator when it reads the DAG
        with pytest.raises(ValueError, match=said):
            operator.partial(**{"task_id": "clean", "flow_version": "f:v1", **wrong})


@pytest.mark.parametrize("operator", [LumeRunOperator, LumeDirectRunOperator])
def test_what_is_rendered_later_is_not_judged_when_the_dag_is_read(operator) -> None:
    operator(
        task_id="clean",
        flow_version="f:{{ params.version }}",
        source_path="{% if true %}a{% endif %}",
        run_metadata="{{ ti.xcom_pull('up') }}",
        lume_conn_id="{{ var.value.conn }}",
    )
    LumeRunBatchOperator(task_id="all", flow_version="f:v1", source_paths="{{ ti.xcom_pull('up') }}")
    with pytest.raises(ValueError, match="on_partial"):
        operator(task_id="clean", flow_version="f:v1", source_path="a", on_partial="{{ x }}")


def test_the_run_of_a_sensor_is_checked_when_the_dag_is_read() -> None:
    LumeRunSensor(task_id="wait", run_id="{{ ti.xcom_pull('up')['run_id'] }}")
    for run_id in (None, "", "../x", 5):
        with pytest.raises(ValueError, match="LumeRunSensor 'wait': invalid run ID"):
            LumeRunSensor(task_id="wait", run_id=run_id)


def test_sources_are_names_and_an_empty_list_is_no_accident(connection) -> None:
    task = LumeRunBatchOperator(task_id="all", flow_version="f:v1", source_paths="{{ sources }}")
    for wrong in ([Path("a")], [["a"]], ["a", None], 5, "['a', 'b']"):
        task.source_paths = wrong  # what the template was rendered to
        said = "render_template_as_native_obj" if wrong == "['a', 'b']" else "source_paths"
        with pytest.raises(ValueError, match=said):
            task.execute(context())
    assert count(connection) == 0


@pytest.fixture
def busy(connection, sources) -> Any:
    """A server with other runs before ours, which nobody may cancel."""
    anyio.run(keep_busy, connection, sources)
    yield connection
    assert set(anyio.run(partial(ended, connection, of="other"))) == {"SUCCEEDED"}


def test_past_its_timeout_the_run_is_cancelled(busy, sources) -> None:
    with pytest.raises(AirflowException, match="not ended within 0 s; cancelled run_"):
        clean(sources.good(), timeout=0.01).execute(context())
    assert_ended(busy)


def test_a_killed_task_leaves_no_run(busy, sources) -> None:
    task = clean(sources.good(), deferrable=True)
    with pytest.raises(TaskDeferred):
        task.execute(context())
    task.on_kill()
    assert_ended(busy)


def test_unless_its_author_wants_that(busy, sources) -> None:
    task = clean(sources.good(), deferrable=True, cancel_on_kill=False)
    with pytest.raises(TaskDeferred):
        task.execute(context())
    task.on_kill()
    assert_ended(busy, "SUCCEEDED")


def test_airflows_own_timeout_leaves_no_run(busy, sources) -> None:
    task, given = clean(sources.good(), deferrable=True), context()
    with pytest.raises(TaskDeferred):
        task.execute(given)
    with pytest.raises(TaskDeferralTimeout):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, given)
    assert_ended(busy)


def assert_ended(server: Any, status: str = "CANCELLED") -> None:
    assert anyio.run(ended, server) == [status]


def test_a_batch_defers_before_it_submits(connection, sources) -> None:
    task = LumeRunBatchOperator(
        task_id="all", flow_version="customer_cleaner:v1", source_paths=[sources.good()]
    )
    with pytest.raises(TaskDeferred) as deferred:
        task.execute(context())
    assert isinstance(deferred.value.trigger, LumeBatchTrigger)
    assert count(connection) == 0


def test_a_batch_on_the_worker(connection, sources) -> None:
    paths = [sources.good(), sources.partial()]
    task = LumeRunBatchOperator(
        task_id="all",
        flow_version="customer_cleaner:v1",
        source_paths=paths,
        deferrable=False,
        on_partial="fail",
    )
    with pytest.raises(AirflowFailException, match="rejected rows: 1 of 17"):
        task.execute(context())


def test_a_batch_looks_no_further_back_than_its_dag_run(connection) -> None:
    begun = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    task = LumeRunBatchOperator(task_id="all", flow_version="f:v1", source_paths=["a"])
    with pytest.raises(TaskDeferred) as deferred:
        task.execute({**context(), "dag_run": SimpleNamespace(start_date=begun)})
    _, kwargs = deferred.value.trigger.serialize()
    assert kwargs["since"] == (begun - timedelta(minutes=5)).timestamp()  # the clocks may differ


def test_a_direct_task_on_a_worker_is_a_plain_one(connection, sources) -> None:
    task = LumeDirectRunOperator(
        task_id="clean", flow_version="customer_cleaner:v1", source_path=sources.good(), deferrable=False
    )
    given = context()
    assert task.execute_complete(given, {"on_worker": True})["status"] == "SUCCEEDED"
    assert given["ti"].xcoms["lume_delivered"] == [1]


def test_a_cleared_direct_task_runs_again(connection, sources) -> None:
    task = LumeDirectRunOperator(
        task_id="clean", flow_version="customer_cleaner:v1", source_path=sources.good(), deferrable=False
    )
    given = context()
    first = task.execute(given)
    given["ti"].try_number = 2
    second = task.execute(given)
    assert second["run_id"] != first["run_id"]
    assert count(connection) == 2


def test_a_sensor_waits_in_the_triggerer(connection) -> None:
    with pytest.raises(TaskDeferred) as deferred:
        LumeRunSensor(task_id="wait", run_id="run_1").execute(context())
    assert isinstance(deferred.value.trigger, LumeWaitTrigger)


def test_a_sensor_polls(connection, sources) -> None:
    first = clean(sources.good()).execute(context())
    given = {**context(), "task_reschedule_count": 0}
    sensor = LumeRunSensor(task_id="wait", run_id=first["run_id"], deferrable=False, poke_interval=0.1)
    assert sensor.execute(given)["run_id"] == first["run_id"]


def test_a_sensor_of_a_failed_run(connection, sources) -> None:
    with pytest.raises(AirflowException):
        clean(sources.bad()).execute(context())
    (run,) = anyio.run(runs, connection)
    for soft, expected in ((False, AirflowFailException), (True, AirflowSkipException)):
        with pytest.raises(expected, match="ended FAILED"):
            LumeRunSensor(task_id="wait", run_id=run.id, soft_fail=soft).poke(context())


def test_a_poll_that_fails_is_not_a_run_that_fails(connection, sources, monkeypatch) -> None:
    first = clean(sources.good()).execute(context())
    sensor = LumeRunSensor(task_id="wait", run_id=first["run_id"], deferrable=False)
    with monkeypatch.context() as away:
        use(away, "http://127.0.0.1:9", "key")
        assert sensor.poke(context()) is False
    use(monkeypatch, connection.base_url, connection.api_key)
    assert sensor.poke(context()) is True
    use(monkeypatch, connection.base_url, "wrong")
    with pytest.raises(AuthenticationError):
        sensor.poke(context())
