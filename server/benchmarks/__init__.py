"""What the server costs, beside others: `python -m server.benchmarks.engine`, at the top of the repository.

The docstring of each says what it measures. They use helpers of the tests, like the client's benchmarks.
"""

import sys
from pathlib import Path

import benchmarks  # noqa: F401 - puts the helpers of the client's tests on the path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
