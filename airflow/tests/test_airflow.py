"""The tests of `lume_airflow` and the check of its types, in Airflow's own environment: it pins much of what we use.

With four real Airflow processes, kills included: `./scripts/test-airflow`.
"""

import subprocess
from pathlib import Path

import pytest
from components import component

ROOT = Path(__file__).parents[2]


def run(*words: str) -> None:
    python = Path(component("airflow")).with_name("python")
    command = [str(python), "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_the_provider_does_what_it_says() -> None:
    # In one process: each imports Airflow, and makes its database.
    run("pytest", "-c", "airflow/pyproject.toml", "airflow/tests/on_airflow", "-q", "-p", "no:cacheprovider")


@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_its_types_fit_those_of_airflow() -> None:
    run("pyright", "--project", "airflow/tests/on_airflow/pyrightconfig.json")
