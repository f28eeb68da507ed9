"""A file whose rows can be read and judged, by a process of its own (`open_sample`) or by the one that opened it."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from os import PathLike, fspath
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any, Protocol

from attrs import field, frozen

from lume_async.errors import ConfigurationError
from lume_async.models import JsonObject
from lume_local._shared.failing import require

_SECONDS = 120.0


@frozen
class SampleRows:
    """Rows of a source, spread over its first rows.

    Attributes:
        names: the columns' names in expressions.
        header: the columns' names in the file, which may be empty or repeated.
        rows: their values, as strings or None.
        count: the number of first rows; columns are tried on all of them.
        malformed: the number of lines that can't be rows, by reason.
        malformed_lines: the numbers of the first such lines.
        unread: for JSON, NDJSON and XML, a problem for each member with a value but without a column.
    """

    names: list[str]
    header: list[str]
    rows: list[list[str | None]]
    count: int
    malformed: dict[str, int]
    malformed_lines: list[int]
    unread: list[str] = field(factory=list)


@frozen
class JudgedColumn:
    """The result of a flow's column on a sample.

    Attributes:
        misfits: the number of rows that would be rejected for their value.
        missing: the number of rows without a value, if the column is required.
        examples: the first different misfits, at most three.
    """

    misfits: int
    missing: int
    examples: list[str] = field(factory=list)


@frozen
class SampleParts:
    """The contents of an archive or a workbook.

    Attributes:
        members: the names of the files in a ZIP archive, without those that operating systems add.
        sheets: the names of a workbook's sheets, without hidden ones.
        hidden: the names of its hidden sheets.
    """

    members: list[str] = field(factory=list)
    sheets: list[str] = field(factory=list)
    hidden: list[str] = field(factory=list)


class ReadSample(Protocol):
    """Rows of a file, on which columns are tried. Raises `ConfigurationError` if the flow can't be run."""

    def judge(
        self, source: JsonObject, columns: Mapping[str, tuple[str, JsonObject]]
    ) -> dict[str, JudgedColumn]: ...


class OpenSample(ReadSample, Protocol):
    """An open file. Its methods raise `ConfigurationError` if it can't be read, or the flow can't be run."""

    def rows(self, source: JsonObject, *, most: int = 10_000, members: Sequence[str] = ()) -> SampleRows: ...

    def members(self, source: JsonObject, *, most: int = 10_000) -> list[str]: ...


class Opening(Protocol):
    """Opens a file; `name` is its name in messages."""

    def __call__(
        self, path: str | PathLike[str], *, name: str | None = None
    ) -> AbstractContextManager[OpenSample]: ...


class SampleFile:
    """A file whose first rows can be read and tried. Open it with `open_sample`."""

    def __init__(self, process: "subprocess.Popen[str]", path: str) -> None:
        self._process, self._path = process, path

    def rows(self, source: JsonObject, *, most: int = 10_000, members: Sequence[str] = ()) -> SampleRows:
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

    def members(self, source: JsonObject, *, most: int = 10_000) -> list[str]:
        """Return the members of the first records that a flow can read, as it names them, for JSON, NDJSON and XML.

        Raises:
            ConfigurationError: the file can't be read.
        """
        names: list[str] = self._ask(do="members", source=source, most=most)
        return names

    def judge(
        self, source: JsonObject, columns: Mapping[str, tuple[str, JsonObject]]
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

    def _ask(self, **request: Any) -> Any:
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
            _, said = self._process.communicate()
            why = (said.strip().splitlines() or ["no reason was given"])[-1]
            if self._process.returncode < 0:
                why = f"this takes longer than {_SECONDS:g} s"
            raise ConfigurationError(f"{self._path} can't be read: {why}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ConfigurationError(str(answer["error"]))
        return answer["found"]


@contextmanager
def open_sample(path: str | PathLike[str], *, name: str | None = None) -> Iterator[SampleFile]:
    """Read and try the first rows of a file, in a process of its own, as a run would.

    Args:
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
