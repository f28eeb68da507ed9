"""What does `import lume_async` cost a program that may never call it? CPU time, each in a fresh interpreter.

    python -m benchmarks.imports        ROUNDS=15 for steadier numbers

The first two lines are what the imports alone cost, the two after them what a program that uses the client pays
in the end. Peers are measured where they are installed: pip install openai boto3 databricks-sdk
"""

import os
import statistics
import subprocess
import sys
from collections.abc import Callable

from benchmarks._bench import header, interleaved, table, version

TARGETS = {"import lume_async": 0.40, "import lume_sync": 0.40, "from lume_async import Client": 1.30}
"""The most that each may cost, as a part of aiohttp's own import."""

OURS = (
    "import lume_async",
    "import lume_sync",
    "from lume_async import Client",
    "from lume_sync import Client",
)
PEERS = {  # distribution: what its users write
    "openai": "from openai import OpenAI",
    "boto3": "import boto3",
    "databricks-sdk": "from databricks.sdk import WorkspaceClient",
}
BASE = "import aiohttp"


def cpu_of(statement: str) -> Callable[[], float]:
    """The CPU seconds of one statement; the interpreter's own start is not in them."""
    # Else Python compiles this checkout at each import, but not aiohttp, whose installer has done it.
    cached = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    program = f"import time; begun = time.process_time(); {statement}; print(time.process_time() - begun)"

    def measure() -> float:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, env=cached, capture_output=True, text=True, check=True)
        return float(done.stdout)

    return measure


def main() -> int:
    header("lume-client", "aiohttp", "attrs", "cattrs", "anyio", *PEERS)
    there = [statement for name, statement in PEERS.items() if version(name)]
    for name in PEERS:
        if not version(name):
            print(f"{name} is not installed: left out")
    contestants = {name: cpu_of(name) for name in [*OURS, BASE, *there]}
    for measure in contestants.values():
        measure()  # writes the .pyc files
    results = interleaved(contestants, rounds=int(os.environ.get("ROUNDS", "9")))
    table(results, BASE, unit="CPU ms", scale=1_000)
    missed = False
    for name, target in TARGETS.items():
        ratio = statistics.median(mine / its for mine, its in zip(results[name], results[BASE], strict=True))
        missed |= ratio > target
        print(
            f"\n{name}: {ratio:.2f} x aiohttp, {'above' if ratio > target else 'within'} the {target:.2f} allowed"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
