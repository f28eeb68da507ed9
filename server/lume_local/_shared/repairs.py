"""The job of the worker protocol that repairs values, and its answer (see `protocol`)."""

from attrs import field, frozen


@frozen
class Repair:
    """What values might have been meant to be: answered by `Repaired`. `choices` are the allowed values, if any."""

    values: list[str]
    choices: list[str] = field(factory=list)


@frozen
class Repaired:
    """For each repair that changes any value what it makes of each; None where that is nothing else."""

    values: dict[str, list[str | None]]
