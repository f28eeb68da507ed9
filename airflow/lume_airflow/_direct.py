"""Direct mode: the trigger's own preparations, because no worker has prepared its task."""

import json
import time
from typing import Any

from lume_airflow._arguments import names_a_task
from lume_airflow._compat import BaseTrigger, Context, XCom
from lume_airflow._identity import TaskTry, in_triggerer
from lume_airflow._options import OperatorOptions
from lume_airflow._supervisor import ask_once, in_turn
from lume_airflow.links import LINK_KEY

DELIVERED = "lume_delivered"
"""The XCom with the tries in which the task has ended; a later try means that the task was cleared."""

TEMPLATED = ("flow_version", "source_path", "run_metadata", "lume_conn_id")


async def arguments(
    trigger: BaseTrigger, given: dict[str, Any] | None, context: Context | None
) -> dict[str, Any] | None:
    """Return the operator's arguments, looked up and rendered; None if only a worker can look them up.

    The context is None if Airflow does not find the task in its version of the DAG.
    """
    if context is None:
        return None
    if given is None:
        task: Any = trigger.task
        mapped = await _expand(task.expand_input.value, trigger.task_instance)
        if mapped is None:
            return None
        given = {**task.partial_kwargs, **mapped}
        if names_a_task({name: given.get(name) for name in TEMPLATED}):
            return None
    environment = trigger.get_template_env()
    rendered = {
        name: trigger.render_template(given[name], context, environment)
        for name in TEMPLATED
        if name in given
    }
    return {**given, **rendered}


async def _expand(expanded: Any, ti: Any) -> dict[str, Any] | None:
    """Return the arguments that `expand` gives to this task; the last one varies fastest, as in Airflow."""
    if not isinstance(expanded, dict):
        return None
    values = {name: await _values(value, ti) for name, value in expanded.items()}
    index, chosen = ti.map_index, {}
    for name, several in reversed(values.items()):
        if several is None:
            return None
        index, place = divmod(index, len(several))
        chosen[name] = several[place]
    return chosen


async def _values(value: Any, ti: Any) -> list[Any] | None:
    """Return a literal list, or the output of a task; None for `map`, `zip` and the outputs of mapped tasks.

    A triggerer can fetch only single XComs: a request for all XComs of a task never gets an answer there.
    """
    if isinstance(value, list):
        return value
    operator, key = getattr(value, "operator", None), getattr(value, "key", None)
    if operator is None or key is None or operator.is_mapped:
        return None
    pulled = await ask_once(
        ("xcom", ti.dag_id, ti.run_id, operator.task_id, key),
        lambda: ti.axcom_pull(task_ids=operator.task_id, key=key, map_indexes=-1),
    )
    return pulled if isinstance(pulled, list) else None


async def this_try(ti: Any, options: OperatorOptions) -> TaskTry:
    """Return the current try of a task that was not on a worker."""
    return in_triggerer(ti, await _delivered(ti), options.on_clear)


async def _delivered(ti: Any) -> list[int]:
    if ti.try_number == 1:
        return []
    return tries(await ti.axcom_pull(task_ids=ti.task_id, key=DELIVERED, map_indexes=ti.map_index))


def tries(found: Any) -> list[int]:
    """Return the tries in the XCom, which is a list or its JSON text; empty for anything else."""
    if isinstance(found, str):
        found = json.loads(found)
    return [number for number in found if isinstance(number, int)] if isinstance(found, list) else []


def deadline(options: OperatorOptions) -> float | None:
    """Return the deadline in seconds since the epoch, counted from now, as the start of the task is not recorded."""
    limit = options.timeout
    return None if limit is None else time.time() + limit


async def deliver(result: dict[str, Any], ti: Any) -> dict[str, Any]:
    """Push the result of a task that ends in the triggerer; return the XComs that the event carries.

    Airflow stores the XComs of an event as JSON text: that works for the link and for `tries`, but the next task
    would get a string as the result. Airflow's `axcom_push` requires an operator that is not serialized.
    """
    place = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": ti.map_index}
    delivered = [*await _delivered(ti), ti.try_number]
    await in_turn(lambda: XCom.aset("return_value", result, **place))
    return {LINK_KEY: result["url"], DELIVERED: delivered}
