"""The names of files for DuckDB, whose readers take `*`, `?` and `[` in them for a pattern. Pure."""

import re
from collections.abc import Iterable
from pathlib import Path

from lume_local._worker.compiler.checks import text


def literal(path: Path) -> str:
    """SQL for what a reader is given: this file and no other."""
    return text(_escaped(path))


def allowed(paths: Iterable[Path]) -> str:
    """SQL for what `allowed_paths` and `allowed_directories` are set to: each as it is, and as `literal` has it."""
    return ", ".join(text(name) for path in paths for name in dict.fromkeys((str(path), _escaped(path))))


def _escaped(path: Path) -> str:
    return re.sub(r"[*?[]", r"[\g<0>]", str(path))
