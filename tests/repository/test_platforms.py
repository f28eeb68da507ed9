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
QUICK = (
    "tests/windows",
    "tests/async/base/test_platform.py",
    "tests/async/base/test_threads.py",
    "tests/async/batch/test_journal.py",
    "tests/async/run/test_download.py",
    "tests/async/run/test_upload.py",
    "tests/async/test_client.py",
    "tests/sync/test_journal.py",
    "tests/sync/test_portal.py",
)
"""What opens, replaces and locks files, has to do with forks and signals, and makes requests."""
WHOLE = ("tests/windows", "tests/async", "tests/sync")

pytestmark = posix_only


def passes(*tests: str, seconds: float) -> None:
    """Run tests in an interpreter like that of Windows."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests/without_posix")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]


@pytest.mark.thorough
@pytest.mark.timeout(150)
def test_what_may_differ_works_there() -> None:
    passes(*QUICK, seconds=140)


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_everything_works_there() -> None:
    passes(*WHOLE, seconds=1190)
