"""Spark and Ray, too large for everybody's environment: their tests, and the check of their types, in their own."""

import os
import subprocess
from pathlib import Path

import pytest
from components import component

# What executors do, and that a lost worker or cluster is no lost row, Dask's and the pool's tests show, too.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]
JAVA_ONCE = os.environ | {"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
"""A Java that lives for seconds spends most of them on compiling for speed."""


def run(program: str, *words: str) -> None:
    python = Path(component(program)).with_name("python")
    command = [str(python), "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, cwd=ROOT, env=JAVA_ONCE)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


@pytest.mark.parametrize(
    ("engine", "which"),
    # One process for each: a Spark whose Java was killed leaves its library without one.
    [("spark", "driver"), ("spark", "not driver"), ("ray", "")],
)
def test_an_engine(engine: str, which: str) -> None:
    program = "spark-submit" if engine == "spark" else "ray"
    run(
        program,
        "pytest",
        f"server/tests/on_engines/test_{engine}.py",
        "-k",
        which,
        "-q",
        "-p",
        "no:cacheprovider",
    )


def test_the_types_fit_those_of_the_engines() -> None:
    run("ray", "pyright", "--project", "server/tests/on_engines/pyrightconfig.json")
