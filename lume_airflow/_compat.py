"""What this package takes from Airflow, at its place in 3.x and in 2.11: the only import of it here."""

from typing import Any

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
]

Context = Any
"""A task's context: a `TypedDict` whose keys differ from version to version."""
