"""Makes a proposal: reads the samples and the target's table, and leaves the rest to `_mapping`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lume_async.errors import ConfigurationError
from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError, Table
from lume_local._flow.source_settings import read_source
from lume_local._mapping.assemble import propose
from lume_local._mapping.decisions import decisions
from lume_local._mapping.profile import Profile, profile_column
from lume_local._mapping.propose import Suggestion
from lume_local._mapping.target import MappingTarget
from lume_local._samples.opening import JudgedColumn, SampleRows
from lume_local._shared.protocol import Propose, Proposed, Refused
from lume_local._worker.databases.database import DatabaseTrouble
from lume_local._worker.databases.described import described
from lume_local._worker.samples.read import Sample, read_sample, sample_of_rows
from lume_local._worker.samples.sample import HeldSample
from lume_local._worker.samples.trials import Trials, opened_trials
from lume_local._worker.samples.whole import WholeSample, errors, opened_whole
from lume_local._worker.sources.files import opened
from lume_local._worker.sources.places.held import Held
from lume_local._worker.sources.source import SourceError

ROWS = 10_000
"""Rows of a sample that are read, spread over the whole file."""
Read = tuple[Profile, WholeSample]


def make_proposal(job: Propose) -> Proposed | Refused:
    """Return the proposal, or why there is none."""
    try:
        target = MappingTarget.of_json(job.target)
        if target.place is not None:
            target = described(target)
        with ExitStack() as stack:
            trials = stack.enter_context(opened_trials())
            samples = [stack.enter_context(_read(trials, one)) for one in job.samples]
            suggestions = [Suggestion(**one) for one in job.suggestions]
            profiles, testers = [profile for profile, _ in samples], [one for _, one in samples]
            choices = decisions(job.choices)
            found = propose(target, profiles, testers, suggestions, choices=choices, inline=job.inline)
        read_definition(found.definition)
        return Proposed(found.to_json())
    except (ConfigurationError, ModuleNotFoundError, SourceError, DatabaseTrouble) as error:
        return Refused("samples" if not isinstance(error, DatabaseTrouble) else "target", str(error))
    except FlowError as error:
        return Refused(error.place, error.problem)


@contextmanager
def _read(trials: Trials, given: Mapping[str, Any]) -> Iterator[Read]:
    """Open a sample and read it as requested, or as its content suggests."""
    with TemporaryDirectory(prefix="lume-sample-") as folder, closing(Held()) as held:
        # Opened once, without following links: whatever its path leads to later is not read.
        handle, found = opened(path := Path(given["path"]))
        file = held.hold(handle, path, Path(folder) / "copy")
        if found.size > (most := given.get("most_bytes", found.size)):
            problem = (
                f"{given['shown']!r} has {found.size:,} bytes; the maximum is {most:,}: pass a part of it"
            )
            raise FlowError("samples", problem)
        with _profiled(trials, given, path, file) as sample:
            yield sample


@contextmanager
def _profiled(trials: Trials, given: Mapping[str, Any], path: Path, held: Path) -> Iterator[Read]:
    """Yield the profile of a sample, and the sample for trials; with `source` settings nothing is guessed."""
    name, wanted = given["shown"], given.get("source")
    if wanted is None:
        encoding, delim = given.get("encoding"), given.get("delim")
        read = read_sample(path, partial(_open_here, trials), encoding, delim, name=name, held=held)
        members: list[str] | None = [column.source for column in read.columns]
        null = list(read.null.proposed)
        settings = read.source | ({"null": null} if null else {})
        seen: Sample | None = read
    else:
        seen, members, settings = None, None, dict(wanted)
        if read_source(Table("source", settings)).query is not None:
            raise FlowError("source.format", "is for a query: a sample is a file")
    with opened_whole(trials, path, name, held, settings, members, ROWS) as sample:
        if seen is None:
            found = SampleRows(
                sample.names, sample.names, sample.rows, len(sample.rows), {}, [], sample.unread
            )
            seen = sample_of_rows(name, sample, found, settings, [])
        words = set(settings.get("null", ()))
        places = {one: n for n, one in enumerate(sample.names)}
        columns = [
            profile_column(column, _values(sample, places[column.source], words))
            for column in seen.columns
            if column.source in places
        ]
        yield Profile(name, settings, len(sample.rows), columns, seen.doubts), sample


def _values(sample: WholeSample, place: int, null: set[str]) -> list[str]:
    values = (row[place] for row in sample.rows)
    return ["" if value is None or value.strip() in null else value for value in values]


class _Here:
    """A `HeldSample` of this process as an `OpenSample`."""

    def __init__(self, held: HeldSample, shown: str) -> None:
        self._held, self._shown = held, shown

    def rows(self, source: Mapping[str, Any], *, most: int = ROWS, members: Sequence[str] = ()) -> SampleRows:
        with errors(self._shown):
            return self._held.rows(source, most, members)

    def members(self, source: Mapping[str, Any], *, most: int = ROWS) -> list[str]:
        with errors(self._shown):
            return self._held.members(source, most)

    def judge(
        self, source: Mapping[str, Any], columns: Mapping[str, tuple[str, Mapping[str, Any]]]
    ) -> dict[str, JudgedColumn]:
        with errors(self._shown):
            return self._held.judge(source, columns)


@contextmanager
def _open_here(trials: Trials, path: str | PathLike[str], *, name: str | None = None) -> Iterator[_Here]:
    with TemporaryDirectory(prefix="lume-sample-") as folder:
        shown = name or str(path)
        yield _Here(HeldSample(Path(path), shown, Path(folder), trials), shown)
