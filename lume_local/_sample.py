"""The first rows of a file that only DuckDB can read, by a separate process."""

import json
import subprocess
import sys
from os import PathLike, fspath
from typing import Literal

from lume_async._base.extras import require
from lume_async.errors import ConfigurationError

_SECONDS = 120.0


def sample_rows(
    path: str | PathLike[str], kind: Literal["parquet", "excel"], rows: int = 10_000
) -> list[list[str | None]]:
    """The first rows of a Parquet file or an Excel workbook, as a flow's expressions see them; first the names.

    Args:
        path: the file.
        kind: what it is.
        rows: the maximum number of rows.

    Raises:
        ConfigurationError: the file can't be read.
        ModuleNotFoundError: an Excel workbook needs the extra `excel`.
    """
    if kind == "excel":
        require("openpyxl", "excel", "reading an Excel workbook")
    command = [sys.executable, "-m", "lume_local._worker.sample", kind, fspath(path), str(rows)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ConfigurationError(f"{path} can't be read within {_SECONDS:g} s") from None
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ConfigurationError(f"{path} can't be read: {words[-1] if words else 'no reason was given'}")
    return [json.loads(line) for line in done.stdout.splitlines()]
