"""The client's whole end-to-end suite with Prism between client and server: every response is as described."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from components import component

TESTS = Path(__file__).parents[4] / "tests"
SUITE = ("end_to_end", "examples", "cli/commands", "cli/work", "local/serve/test_serve.py", "test_docs.py")
"""What drives our client against an embedded server."""

NOT_THROUGH_PRISM = (
    # It takes every body for UTF-8. The client notices: what arrived is not what it has sent.
    "tests/cli/commands/test_rejects.py::test_mended_rejects_are_resubmitted",
    # It listens on when the server behind it has ended.
    "server/tests/local/serve/test_serve.py::test_an_error_in_the_block_comes_through_and_everything_ends",
)


@pytest.mark.timeout(3600)
def test_the_end_to_end_suite() -> None:
    component("prism")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--timeout", "240", "-p", "no:cacheprovider"),
            *("-p", "soak.contract.through_prism"),
            *(word for name in NOT_THROUGH_PRISM for word in ("--deselect", name)),
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
