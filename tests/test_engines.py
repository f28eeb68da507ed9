"""The tests of the engines that are too large for everybody's environment, Spark and Ray, in one of their own."""

import subprocess
from pathlib import Path

import pytest
from components import component

ROOT = Path(__file__).parents[1]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("engine", "which"),
    # One process for each: a Spark whose Java was killed leaves its library without one.
    [("spark", "driver"), ("spark", "not driver"), ("ray", "")],
)
def test_an_engine(engine: str, which: str) -> None:
    python = Path(component("spark-submit" if engine == "spark" else "ray")).with_name("python")
    words = [f"tests/on_engines/test_{engine}.py", "-k", which, "-q", "-p", "no:cacheprovider"]
    command = [str(python), "-m", "pytest", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
