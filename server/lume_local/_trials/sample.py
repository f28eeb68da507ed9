"""A sample of a source: its first rows as a flow's expressions see them, and a flow's results for them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from lume_async.errors import ConfigurationError
from lume_local._samples.opening import JudgedColumn, SampleRows
from lume_local._shared.extras import require

_SECONDS = 120.0


class SampleFile:
    """A file whose first rows can be read and tried. Open it with `open_sample`."""

    def __init__(self, process: "subprocess.Popen[str]", path: str) -> None:
        self._process, self._path = process, path

    def rows(
        self, source: Mapping[str, Any], *, most: int = 10_000, members: Sequence[str] = ()
    ) -> SampleRows:
        """Return rows from all over the first 100,000.

        Args:
            source: how to read the file, as `[source]` of a flow.
            most: the maximum number of rows.
            members: the members of objects to read, for a JSON source.

        Raises:
            ConfigurationError: the file can't be read.
        """
        if source.get("format") == "excel":
            require("openpyxl", "excel", "reading an Excel workbook")
        return SampleRows(**self._ask(do="rows", source=source, most=most, members=list(members)))

    def members(self, source: Mapping[str, Any], *, most: int = 10_000) -> list[str]:
        """Return the members of the first records that a flow can read, as it names them, for JSON, NDJSON and XML.

        Raises:
            ConfigurationError: the file can't be read.
        """
        names: list[str] = self._ask(do="members", source=source, most=most)["names"]
        return names

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]:
        """Try columns of a flow on all of the rows that `rows` has read last.

        Args:
            source: as `[source]` of a flow.
            columns: by name, the source column and the definition, as `[columns.<name>]` of a flow.

        Raises:
            ConfigurationError: the flow can't be run.
        """
        found = self._ask(do="judge", source=source, columns=columns)
        return {name: JudgedColumn(**one) for name, one in found.items()}

    def _ask(self, **request: Any) -> dict[str, Any]:
        if self._process.poll() is not None:  # it has reported why
            raise ConfigurationError(f"{self._path} can't be read: its process has ended")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watch = Timer(_SECONDS, self._process.kill)
        watch.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watch.cancel()
        if not line:
            raise ConfigurationError(f"{self._path} can't be read: {self._words()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ConfigurationError(str(answer["error"]))
        return answer

    def _words(self) -> str:
        _, said = self._process.communicate()
        if self._process.returncode < 0:
            return f"this takes longer than {_SECONDS:g} s"
        return (said.strip().splitlines() or ["no reason was given"])[-1]


@contextmanager
def open_sample(path: str | PathLike[str], *, name: str | None = None) -> Iterator[SampleFile]:
    """Read and try the first rows of a file, in a process of its own, as a run would.

    Args:
        path: the file.
        name: its name in messages; default: its own.
    """
    shown = name or Path(path).name
    with TemporaryDirectory(prefix="lume-sample-") as folder, begin(fspath(path), shown, folder) as process:
        try:
            yield SampleFile(process, shown)
        finally:
            process.kill()


def begin(*args: str) -> "subprocess.Popen[str]":
    """Start the process. Only tests replace this: theirs forks a process that has imported everything."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "lume_local._worker.samples.sample", *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
