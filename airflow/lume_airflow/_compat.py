"""The names that this package imports from Airflow, 3.x and 2.11."""

from typing import Any, TypeAlias

from airflow.providers.common.compat.sdk import AirflowException as AirflowException
from airflow.providers.common.compat.sdk import AirflowFailException as AirflowFailException
from airflow.providers.common.compat.sdk import AirflowSkipException as AirflowSkipException
from airflow.providers.common.compat.sdk import Asset as Asset
from airflow.providers.common.compat.sdk import AssetAlias as AssetAlias
from airflow.providers.common.compat.sdk import BaseHook as BaseHook
from airflow.providers.common.compat.sdk import BaseOperator as BaseOperator
from airflow.providers.common.compat.sdk import BaseOperatorLink as BaseOperatorLink
from airflow.providers.common.compat.sdk import BaseSensorOperator as BaseSensorOperator
from airflow.providers.common.compat.sdk import XCom as XCom
from airflow.providers.common.compat.sdk import conf as conf
from airflow.triggers.base import BaseTrigger as BaseTrigger
from airflow.triggers.base import StartTriggerArgs as StartTriggerArgs
from airflow.triggers.base import TaskSkippedEvent as TaskSkippedEvent
from airflow.triggers.base import TaskSuccessEvent as TaskSuccessEvent
from airflow.triggers.base import TriggerEvent as TriggerEvent
from airflow.version import version as airflow_version

Release: TypeAlias = tuple[int, int]

Context = Any
"""A task's context: a `TypedDict` whose keys differ from version to version."""


def is_at_least(wanted: Release) -> bool:
    """Return whether this Airflow is the `wanted` release or a newer one."""
    major, minor = airflow_version.split(".")[:2]
    return (int(major), int(minor)) >= wanted


def need(wanted: Release, what: str, instead: str) -> None:
    """Check the version of Airflow. Raises `AirflowFailException` if it is older than `wanted`."""
    if not is_at_least(wanted):
        needed = ".".join(str(number) for number in wanted)
        raise AirflowFailException(
            f"{what} needs Airflow {needed} or newer; this is {airflow_version}: use {instead}"
        )
