"""The client's whole end-to-end suite with Prism between client and server: every response is as described."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from components import component

TESTS = Path(__file__).parents[2]
SUITE = ("end_to_end", "examples", "cli/commands", "cli/work", "local/test_serve.py", "test_docs.py")
"""What drives our client against an embedded server."""


@pytest.mark.timeout(3600)
def test_the_end_to_end_suite() -> None:
    component("prism")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--timeout", "240", "-p", "no:cacheprovider"),
            *("-p", "soak.contract.through_prism"),
            *(str(TESTS / name) for name in SUITE),
        ],
        cwd=TESTS.parent,
        env={name: value for name, value in os.environ.items() if name != "SOAK"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = re.search(r"^Prism: (\d+) servers, (\d+) requests, (\d+) violations$", done.stdout, re.MULTILINE)
    assert said, done.stdout
    print(f"{said[0]}; {done.stdout.splitlines()[-1]}")
    assert done.returncode == 0, done.stdout
    assert int(said[2]) > 300
    assert said[3] == "0", done.stdout
