"""Operators: one run per task, without a worker if possible, or thousands of runs in one task."""

from lume_airflow.operators.batch import LumeRunBatchOperator
from lume_airflow.operators.direct import LumeDirectRunOperator
from lume_airflow.operators.run import LumeRunOperator

__all__ = ["LumeDirectRunOperator", "LumeRunBatchOperator", "LumeRunOperator"]
