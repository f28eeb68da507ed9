"""The workflows of GitHub: a linter reads them, and every action is pinned to a commit."""

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"


def test_zizmor_finds_nothing() -> None:
    program = Path(sys.executable).with_name("zizmor")
    done = subprocess.run(
        [program, "--offline", "--no-progress", str(FOLDER)], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_to_a_commit() -> None:
    used = [
        line.strip()
        for path in FOLDER.glob("*.yml")
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert used
    assert [line for line in used if not re.search(r"@[0-9a-f]{40} # v\d", line)] == []
