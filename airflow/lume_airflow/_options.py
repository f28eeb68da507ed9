"""The operators' arguments, as data that triggers can carry. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal, Self, TypeAlias

from attrs import asdict, field, fields, frozen

from lume_airflow._arguments import (
    at_least,
    duration,
    in_seconds,
    is_rendered_later,
    list_of_sources,
    no_airflow,
    one_of,
    text,
    true_or_false,
)
from lume_airflow._identity import OnClear, TaskTry
from lume_async import InvalidRequestError, RunRequest

OnPartial: TypeAlias = Literal["success", "skip", "fail"]
"""The end of a task whose run is PARTIAL_FAILED."""

_OF_A_REQUEST: dict[str, Any] = {
    "flow_version": "flow:v1",
    "source_path": "source",
    "run_metadata": None,
    "layout": None,
}
"""The arguments that the client checks, with valid placeholders for unknown ones."""


@frozen(kw_only=True)
class OperatorOptions:
    """The common options of single runs and batches. Durations are in seconds."""

    flow_version: str
    run_metadata: dict[str, Any] | None = field(default=None, validator=no_airflow)
    force_rerun: bool = field(default=False, validator=true_or_false)
    layout: str | None = None
    lume_conn_id: str = field(default="lume_default", validator=text)
    timeout: float | None = field(default=None, converter=in_seconds, validator=duration)
    on_partial: OnPartial = field(default="success", validator=one_of(OnPartial))
    on_clear: OnClear = field(default="rerun", validator=one_of(OnClear))
    cancel_on_kill: bool = field(default=True, validator=true_or_false)

    @classmethod
    def check(cls, given: Mapping[str, Any], *, templated: Collection[str]) -> None:
        """Check the arguments that a DAG file has. Raises `ValueError`, which names the wrong argument."""
        known = [
            (each, given[each.name])
            for each in fields(cls)
            if each.name in given and not (each.name in templated and is_rendered_later(given[each.name]))
        ]
        for each, value in known:
            converted = each.converter(value) if each.converter else value
            if each.validator is not None:
                each.validator(None, each, converted)
        request = {each.name: value for each, value in known if each.name in _OF_A_REQUEST}
        try:
            RunRequest(**{**_OF_A_REQUEST, **request})
        except InvalidRequestError as error:
            raise ValueError(str(error).removesuffix("; no request was sent")) from None

    @classmethod
    def of(cls, source: Any) -> Self:
        """Take the options from the attributes of an operator."""
        return cls(**{each.name: getattr(source, each.name) for each in fields(cls)})

    @classmethod
    def from_arguments(cls, given: dict[str, Any]) -> Self:
        """Take the options from the arguments of an operator, ignoring Airflow's own."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in names})

    def as_kwargs(self) -> dict[str, Any]:
        """Return JSON values, for the arguments of a trigger."""
        return asdict(self, recurse=False)

    def keys(self, task: TaskTry) -> set[str]:
        """Return every key that this try, or an earlier one of its epoch, may have used."""
        raise NotImplementedError

    def request(self, task: TaskTry, source_path: str, key: str) -> RunRequest:
        """Return the request for one source with that key; after a clear it may be forced."""
        metadata = task.metadata(key, self.run_metadata)
        return RunRequest(
            self.flow_version, source_path, metadata, self.forces(task), key, layout=self.layout
        )

    def forces(self, task: TaskTry) -> bool:
        """Return whether a source that has output is processed again."""
        return self.force_rerun or task.cleared


@frozen(kw_only=True)
class RunOptions(OperatorOptions):
    """The options of a single run."""

    source_path: str

    def keys(self, task: TaskTry) -> set[str]:
        """Return one key for each generation."""
        return task.all_keys()


@frozen(kw_only=True)
class BatchOptions(OperatorOptions):
    """The options of a batch. By default, a cleared batch processes the sources without output."""

    source_paths: list[str] = field(converter=list_of_sources)
    on_clear: OnClear = field(default="failed", validator=one_of(OnClear))
    max_active: int = field(default=100, validator=at_least(1))
    max_failures: int | None = field(default=0, validator=at_least(0, none=True))

    def keys(self, task: TaskTry) -> set[str]:
        """Return one key for each generation of each source."""
        return {task.key(number, item) for _, item in self.items() for number in range(task.tries)}

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield each source and its name in the key, which stays the same if sources are added or reordered."""
        seen: Counter[str] = Counter()
        for source in self.source_paths:
            yield source, f"{source}#{seen[source]}"
            seen[source] += 1
