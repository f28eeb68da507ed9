"""The client and the command line with only the names of Windows (`without_posix/sitecustomize.py`).

On Windows itself `nox -s client` runs the same tests as they are.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from on_posix import posix_only

ROOT = Path(__file__).parents[2]
TESTS = ("tests/windows", "tests/async", "tests/sync")

pytestmark = posix_only


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_everything_works_there() -> None:
    """In an interpreter like that of Windows."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests/without_posix")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1190)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
