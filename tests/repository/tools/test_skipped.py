"""What continuous integration makes of a report: tests that were skipped for want of a program are no success."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "skipped.py"

PROGRAM = """
import pytest
from components import component, package

def test_that_runs(): pass
"""
OTHER = "@pytest.mark.xfail\ndef test_known(): assert 0\ndef test_it(): pytest.skip('needs root')"
SKIPS = {
    "a program": ("def test_it(): component('no-such-program')", 1, "no-such-program is not installed"),
    "a package": ("def test_it(): package('no_such_package')", 1, "no_such_package is not installed"),
    "the system, and a failure that is known": (OTHER, 0, "skipped 1 times: needs root"),
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", SKIPS)
def test_a_skip_for_want_of_a_program_fails_the_run(name: str, tmp_path: Path) -> None:
    source, code, words = SKIPS[name]
    done = judged(PROGRAM + source, tmp_path)

    assert done.returncode == code, done.stderr
    assert words in done.stdout + done.stderr


@pytest.mark.thorough
@pytest.mark.parametrize("source", ["", "import components\ncomponents.component('no-such-program')"])
def test_a_run_without_a_test_fails(source: str, tmp_path: Path) -> None:
    done = judged(source, tmp_path)

    assert done.returncode == 1
    assert "No test ran." in done.stderr


def judged(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(source)
    report, tests = folder / "report.xml", Path(__file__).parents[2]
    pytest_ = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null"]
    subprocess.run(
        [*pytest_, "-o", f"pythonpath={tests}", f"--junitxml={report}", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # they take a second, and change no report
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return subprocess.run(
        [sys.executable, str(TOOL), str(report)], capture_output=True, text=True, check=False
    )
