"""Judge the report of a test run: it fails if nothing ran, or if a program was missing.

    python tools/skipped.py report.xml

Other skips (another system, no root) are listed and allowed.
"""

import sys
from collections import Counter
from xml.etree import ElementTree

MISSING = "is not installed"
"""The words of `tests/components.py`."""


def judge(report: str) -> str | None:
    """Return the problem with the run, or None; print why tests were skipped."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    skipped = [skip for case in cases for skip in case.iter("skipped")]
    # pytest also reports tests that are expected to fail as skipped.
    reasons = Counter(skip.get("message", "") for skip in skipped if skip.get("type") == "pytest.skip")
    for reason, times in sorted(reasons.items()):
        print(f"skipped {times} times: {reason}")
    if len(cases) == len(skipped):
        return "No test ran."
    missing = [reason for reason in reasons if MISSING in reason]
    return f"Tests were skipped that must run here: {'; '.join(sorted(missing))}" if missing else None


if __name__ == "__main__":
    sys.exit(judge(sys.argv[1]))
