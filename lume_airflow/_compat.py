"""The names that this package imports from Airflow, 3.x and 2.11."""

from typing import Any, TypeAlias

from airflow import __version__
from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
    Asset,
    AssetAlias,
    BaseHook,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    XCom,
    conf,
)
from airflow.triggers.base import (
    BaseTrigger,
    StartTriggerArgs,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowSkipException",
    "Asset",
    "AssetAlias",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "BaseTrigger",
    "Context",
    "StartTriggerArgs",
    "TaskSkippedEvent",
    "TaskSuccessEvent",
    "TriggerEvent",
    "XCom",
    "conf",
    "is_at_least",
    "need",
]

Release: TypeAlias = tuple[int, int]

Context = Any
"""A task's context: a `TypedDict` whose keys differ from version to version."""


def is_at_least(wanted: Release) -> bool:
    """Whether this Airflow is that release or a newer one."""
    major, minor = __version__.split(".")[:2]
    return (int(major), int(minor)) >= wanted


def need(wanted: Release, what: str, instead: str) -> None:
    """Check the version of Airflow.

    Raises:
        AirflowFailException: it is older than `wanted`.
    """
    if not is_at_least(wanted):
        needed = ".".join(str(number) for number in wanted)
        raise AirflowFailException(
            f"{what} needs Airflow {needed} or newer; this is {__version__}: use {instead}"
        )
