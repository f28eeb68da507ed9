"""What a task runs and how it takes the end: the operators' arguments, as data that triggers can carry. Pure."""

from collections import Counter
from collections.abc import Iterator
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


def _no_airflow(_self: object, _attribute: Any, value: Any) -> None:
    if isinstance(value, dict) and "airflow" in value:
        raise ValueError("run_metadata['airflow'] is written by the operator: use another name")


@frozen(kw_only=True)
class Options:
    """What single runs and batches have in common. Durations are seconds."""

    flow_version: str
    run_metadata: dict[str, Any] | None = field(default=None, validator=_no_airflow)
    force_rerun: bool = False
    lume_conn_id: str = "lume_default"
    timeout: float | None = field(default=None, converter=_seconds)
    on_partial: OnPartial = field(default="success", validator=_one_of(OnPartial))
    on_clear: OnClear = field(default="rerun", validator=_one_of(OnClear))
    cancel_on_kill: bool = True

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
        return asdict(self)

    def request(self, task: TaskTry, source_path: str, key: str) -> RunRequest:
        """The request of one source under that key; what a cleared task processes again is forced."""
        force = self.force_rerun or task.cleared
        metadata = task.metadata(key, self.run_metadata)
        return RunRequest(self.flow_version, source_path, metadata, force, key)


@frozen(kw_only=True)
class RunOptions(Options):
    """One source."""

    source_path: str


@frozen(kw_only=True)
class BatchOptions(Options):
    """Many sources. A cleared batch by default processes what has no output yet."""

    source_paths: list[str] = field(converter=list)
    on_clear: OnClear = field(default="failed", validator=_one_of(OnClear))
    max_active: int = 100
    max_failures: int | None = 0

    def items(self) -> Iterator[tuple[str, str]]:
        """Each source, and its name for the key: the same over restarts, also if sources are added or moved."""
        seen: Counter[str] = Counter()
        for source in self.source_paths:
            yield source, f"{source}#{seen[source]}"
            seen[source] += 1
