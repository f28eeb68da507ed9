"""The README's Python runs as it stands, from top to bottom, against the embedded server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lume_local

ROOT = Path(__file__).parents[2]
BLOCKS, OUTPUTS = (
    re.findall(rf"^```{kind}\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    for kind in ("python", "output")
)


def printed_by(program: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **environment},
        timeout=250,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return done.stdout


def test_the_examples_run_as_they_stand(tmp_path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    synchronous, asynchronous, other_server = BLOCKS

    first = printed_by(synchronous, tmp_path)
    second = printed_by(asynchronous, tmp_path)
    with lume_local.serve_in_thread(flows=None, data=tmp_path / ".lume", roots=[tmp_path]) as server:
        listed = printed_by(
            other_server, tmp_path, LUME_API_KEY=server.api_key, LUME_BASE_URL=server.base_url
        )

    assert first == OUTPUTS[0]
    assert re.fullmatch(r"PARTIAL_FAILED 241 \S+/customers\.parquet\n", second)
    assert re.fullmatch(r"run_\w+ PARTIAL_FAILED customers\.csv\n", listed)


@pytest.mark.thorough
def test_the_examples_run_a_second_time(tmp_path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")

    assert printed_by(BLOCKS[0], tmp_path) == printed_by(BLOCKS[0], tmp_path)
