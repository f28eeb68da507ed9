"""What the library costs, beside others: `python -m benchmarks.request`. The docstring of each says what it measures.

They use helpers of the tests: servers, crowds, limits.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
