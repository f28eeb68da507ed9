"""Validators for operators' arguments, and checks whether one is known when the DAG is parsed. Pure."""

import math
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeAlias, get_args

Seconds: TypeAlias = float | timedelta | None

_TEMPLATE = ("{{", "{%", "{#")


def is_rendered_later(value: Any) -> bool:
    """Return whether only a running task knows the argument, as it contains a template or the output of a task."""
    if isinstance(value, str):
        return any(mark in value for mark in _TEMPLATE)
    return names_a_task(value)


def names_a_task(value: Any) -> bool:
    """Return whether it contains the output of another task, which only a worker looks up."""
    # Airflow's classes for it in DAG files, in the scheduler and in stored DAGs (a tuple) have no common base.
    if any(hasattr(value, name) for name in ("operator", "iter_references", "deref")):
        return True
    if isinstance(value, dict):
        return any(map(names_a_task, value.values()))
    return isinstance(value, (list, tuple, set)) and any(map(names_a_task, value))


def in_seconds(value: Seconds) -> float | None:
    """Return the duration in seconds; None for no limit."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def list_of_sources(value: Any) -> list[str]:
    """Return the sources as a list; idempotency keys depend on it, so sets and generators are refused."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ValueError(f"source_paths must be a list of strings, not {type(value).__name__}")
    for number, source in enumerate(value):
        if not isinstance(source, str):
            raise ValueError(f"source_paths[{number}] must be a string, not {type(source).__name__}")
    return list(value)


def one_of(choices: Any) -> Any:
    """Return a validator for one of the strings of a `Literal`."""

    def check(_self: object, attribute: Any, value: object) -> None:
        if value not in get_args(choices):
            wanted = ", ".join(repr(each) for each in get_args(choices))
            raise ValueError(f"{attribute.name} must be one of {wanted}, not {value!r:.60}")

    return check


def at_least(lowest: int, *, none: bool = False) -> Any:
    """Return a validator for a whole number of at least `lowest`; with `none`, also None."""

    def check(_self: object, attribute: Any, value: object) -> None:
        if none and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(
                f"{attribute.name} must be a whole number of at least {lowest}, not {value!r:.60}"
            )

    return check


def true_or_false(_self: object, attribute: Any, value: object) -> None:
    """Validate a boolean; a string such as "no" is refused."""
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False, not {value!r:.60}")


def duration(_self: object, attribute: Any, value: Any) -> None:
    """Validate a number of seconds, or None for no limit."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 <= value < math.inf):
        raise ValueError(f"{attribute.name} must be a number of seconds, or a timedelta, not {value!r:.60}")


def text(_self: object, attribute: Any, value: object) -> None:
    """Validate a string that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{attribute.name} must be a string that is not empty, not {value!r:.60}")


def no_airflow(_self: object, attribute: Any, value: Any) -> None:
    """Validate metadata without the key `airflow`, which the operator sets."""
    if isinstance(value, dict) and "airflow" in value:
        raise ValueError(f"{attribute.name}['airflow'] is written by the operator: use another name")
