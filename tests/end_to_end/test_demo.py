"""What a newcomer sees first: ./scripts/demo, without its set-up."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_shows_real_runs_with_both_faces(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / "demo.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
        timeout=250,
    )

    assert done.stderr == ""
    assert done.returncode == 0
    assert max(len(line) for line in done.stdout.splitlines() if str(tmp_path) not in line) <= 80
    assert (
        '- 10002,Bruno Almeida,BRUNO.ALMEIDA2@MAIL.EXAMPLE.COM,2021-08-25,BR,"9,399.40"\n+ 10002'
        in done.stdout
    )
    assert "lume flow try" in done.stdout.partition("What to do next")[2]
    assert "\x1b" not in done.stdout
    for section in done.stdout.split("=== import ")[1:]:
        assert re.search(r"\d s  CREATED \(submitted\)\n(.* s  [A-Z_]+\n)*.* s  PARTIAL_FAILED\n", section)
        assert "3,000 rows read = 2,759 mapped + 241 rejected" in section
        assert "refused: " in section
        assert re.search(r"force_rerun=True: run_\w+ PARTIAL_FAILED", section)
    assert "   35  customer_id: repeats the value of an earlier row" in done.stdout
    assert len(list(tmp_path.rglob("customers.parquet"))) == 4
    assert len(list(tmp_path.rglob("rejects.csv"))) == 4
