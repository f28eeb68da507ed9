"""What a task runs and how it takes the end: the operators' arguments, as data that triggers can carry. Pure."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from typing import Any, Literal, Self, TypeAlias, get_args

from attrs import asdict, field, fields, frozen

from lume_airflow._identity import OnClear, TaskTry
from lume_async import RunRequest

OnPartial: TypeAlias = Literal["success", "skip", "fail"]
"""How a task ends whose run is PARTIAL_FAILED."""

Seconds: TypeAlias = float | timedelta | None


def _seconds(value: Seconds) -> float | None:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _one_of(choices: Any) -> Any:
    def check(_self: object, attribute: Any, value: object) -> None:
        if value not in get_args(choices):
            wanted = ", ".join(repr(each) for each in get_args(choices))
            raise ValueError(f"{attribute.name} must be one of {wanted}, not {value!r}")

    return check


def _sources(value: Any) -> list[str]:
    """A list that can be read again and again, in the same order: the keys are made of it."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise ValueError(f"source_paths must be a list of strings, not {type(value).__name__}")
    for number, source in enumerate(value):
        if not isinstance(source, str):
            raise ValueError(f"source_paths[{number}] must be a string, not {type(source).__name__}")
    return list(value)


def _a_bool(_self: object, attribute: Any, value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False, not {value!r}")


def _duration(_self: object, attribute: Any, value: Any) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and 0 <= value < math.inf):
        raise ValueError(f"{attribute.name} must be a number of seconds, or a timedelta, not {value!r}")


def _at_least(lowest: int, *, none: bool = False) -> Any:
    def check(_self: object, attribute: Any, value: object) -> None:
        if none and value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
            raise ValueError(f"{attribute.name} must be a whole number of at least {lowest}, not {value!r}")

    return check


def _no_airflow(_self: object, _attribute: Any, value: Any) -> None:
    if isinstance(value, dict) and "airflow" in value:
        raise ValueError("run_metadata['airflow'] is written by the operator: use another name")


@frozen(kw_only=True)
class Options:
    """What single runs and batches have in common. Durations are seconds."""

    flow_version: str
    run_metadata: dict[str, Any] | None = field(default=None, validator=_no_airflow)
    force_rerun: bool = field(default=False, validator=_a_bool)
    lume_conn_id: str = "lume_default"
    timeout: float | None = field(default=None, converter=_seconds, validator=_duration)
    on_partial: OnPartial = field(default="success", validator=_one_of(OnPartial))
    on_clear: OnClear = field(default="rerun", validator=_one_of(OnClear))
    cancel_on_kill: bool = field(default=True, validator=_a_bool)

    @classmethod
    def check(cls, source: Any, *, templated: Collection[str]) -> None:
        """Refuse what is wrong in the attributes of an operator, as far as that is known before they are rendered.

        Raises:
            ValueError: an argument is wrong; the message names it.
        """
        for each in fields(cls):
            if each.name not in templated and each.validator is not None:
                value = getattr(source, each.name)
                each.validator(source, each, each.converter(value) if each.converter else value)

    @classmethod
    def of(cls, source: Any) -> Self:
        """From whatever has attributes of these names: an operator."""
        return cls(**{each.name: getattr(source, each.name) for each in fields(cls)})

    @classmethod
    def from_arguments(cls, given: dict[str, Any]) -> Self:
        """From the arguments of an operator, those of Airflow's own left out."""
        names = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in given.items() if name in names})

    def as_kwargs(self) -> dict[str, Any]:
        """As JSON values, for the arguments of a trigger."""
        return asdict(self, recurse=False)

    def keys(self, task: TaskTry) -> set[str]:
        """Every key under which this try, or one before it in its epoch, can have submitted."""
        raise NotImplementedError

    def request(self, task: TaskTry, source_path: str, key: str) -> RunRequest:
        """The request of one source under that key; what a cleared task processes again is forced."""
        force = self.force_rerun or task.cleared
        metadata = task.metadata(key, self.run_metadata)
        return RunRequest(self.flow_version, source_path, metadata, force, key)


@frozen(kw_only=True)
class RunOptions(Options):
    """One source."""

    source_path: str

    def keys(self, task: TaskTry) -> set[str]:
        """One for each generation."""
        return task.all_keys()


@frozen(kw_only=True)
class BatchOptions(Options):
    """Many sources. A cleared batch by default processes what has no output yet."""

    source_paths: list[str] = field(converter=_sources)
    on_clear: OnClear = field(default="failed", validator=_one_of(OnClear))
    max_active: int = field(default=100, validator=_at_least(1))
    max_failures: int | None = field(default=0, validator=_at_least(0, none=True))

    def keys(self, task: TaskTry) -> set[str]:
        """One for each generation of each source."""
        return {task.key(number, item) for _, item in self.items() for number in range(task.tries)}

    def items(self) -> Iterator[tuple[str, str]]:
        """Each source, and its name for the key: the same over restarts, also if sources are added or moved."""
        seen: Counter[str] = Counter()
        for source in self.source_paths:
            yield source, f"{source}#{seen[source]}"
            seen[source] += 1
