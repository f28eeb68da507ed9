"""Programs and packages that some tests need for real: a test without its own is skipped, always with the same words.

`./scripts/components` installs the programs; `.ci/run` does so first, and fails where a test was skipped for one.
"""

import glob
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

_PLACES = os.pathsep.join(
    [
        os.environ.get("PATH", os.defpath),
        "/usr/local/sbin",  # where Debian has servers, and no plain user looks
        "/usr/sbin",
        "/sbin",
        *sorted(
            glob.glob("/usr/lib/postgresql/*/bin"), reverse=True
        ),  # Debian puts only some of it on the PATH
        # In environments of their own: they pin much of what we use, too.
        *(
            str(ROOT / ".components" / name / "bin")
            for name in ("mitmproxy", "openapi", "airflow", "gcs", "engines")
        ),
        str(ROOT / ".components" / "npm" / "node_modules" / ".bin"),
    ]
)


def component(name: str, *others: str) -> str:
    """The path of that program, or of another that will do; where none is installed, whoever asks is skipped."""
    for each in (name, *others):
        found = shutil.which(each, path=_PLACES)
        if found is not None:
            return found
    pytest.skip(f"{name} is not installed: ./scripts/components", allow_module_level=True)


def package(name: str) -> Any:
    """That module of the `test` dependency group; where it is not installed, the test or the module is skipped."""
    return pytest.importorskip(name, reason=f"{name} is not installed: ./scripts/check")
