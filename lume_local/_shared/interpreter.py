"""How a process of Python begins that must end with the one that starts it."""

import os
import sys
from pathlib import Path

_HOME = str(Path(__file__).resolve().parents[2])


def command(program: str) -> list[str]:
    """Starts a program from its text. First of all it ties itself to this process, for its imports take a while."""
    tie = f"from lume_local._worker.parent import end_with; end_with({os.getpid()})"
    return [sys.executable, "-c", f"import sys; sys.path.insert(0, {_HOME!r}); {tie}; {program}"]
