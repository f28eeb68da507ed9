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
ASYNC = (
    *("base", "batch/test_journal.py", "batch/test_journal_file.py", "batch/test_held_paths.py"),
    *("batch/test_run_many.py", "http/test_transport.py", "http/test_resolver.py", "http/test_per_loop.py"),
)
SYNC = ("portal", "portal_end", "loop_thread", "processes", "journal")
TESTS = (
    "tests/windows",
    *(f"tests/async/{name}" for name in ASYNC),
    *(f"tests/sync/test_{name}.py" for name in SYNC),
)
"""Those of what asks the system for something: files, sockets, threads, signals, processes."""

pytestmark = posix_only


@pytest.mark.thorough
@pytest.mark.timeout(1200)
def test_everything_works_there() -> None:
    """In an interpreter like that of Windows."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests/without_posix")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=1190)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
