"""What an Airflow is told that is too old for something."""

import importlib.util
from types import ModuleType

import pytest

from lume_airflow import _compat, operators
from lume_airflow._compat import AirflowFailException
from lume_airflow.operators import LumeDirectRunOperator

SAID = "LumeDirectRunOperator needs Airflow 3.3 or newer; this is 2.11.2: use LumeRunOperator, or"
ARGUMENTS = {"task_id": "clean", "flow_version": "customer_cleaner:v1"}


@pytest.fixture
def old(monkeypatch) -> None:
    monkeypatch.setattr(_compat, "airflow_version", "2.11.2")


@pytest.mark.parametrize(
    ("version", "newer"),
    [("2.11.2", False), ("3.2.9", False), ("3.3.0rc1", True), ("3.10.0", True), ("4.0.0", True)],
)
def test_versions_are_compared_as_numbers(monkeypatch, version, newer) -> None:
    monkeypatch.setattr(_compat, "airflow_version", version)
    assert _compat.is_at_least((3, 3)) is newer


def test_direct_mode_is_refused_when_the_dag_is_read(old) -> None:
    with pytest.raises(AirflowFailException, match=SAID):
        LumeDirectRunOperator(**ARGUMENTS, source_path="a.csv")


def test_mapped_tasks_are_refused_on_a_worker(old) -> None:
    """A mapped operator is made there only; a triggerer would not know what to do."""
    operator = _read_again(operators).LumeDirectRunOperator
    assert operator.start_from_trigger is False
    mapped = operator.partial(**ARGUMENTS).expand(source_path=["a.csv", "b.csv"])
    with pytest.raises(AirflowFailException, match=SAID):
        mapped.unmap({"source_path": "a.csv"})


def test_this_one_starts_them_in_the_triggerer() -> None:
    assert LumeDirectRunOperator.start_from_trigger is True


def _read_again(module: ModuleType) -> ModuleType:
    """As an Airflow of that version would have imported it."""
    spec = importlib.util.spec_from_file_location("read_again", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy
