"""The job of the worker protocol that repairs values, and its answer (see `protocol`)."""

from attrs import field, frozen


@frozen
class Repair:
    """Suggest the values that may have been meant; answered by `Repaired`. `choices` are the allowed ones, if any."""

    values: list[str]
    choices: list[str] = field(factory=list)


@frozen
class Repaired:
    """For each repair that changes any value, its result for each value; None where it changes nothing."""

    values: dict[str, list[str | None]]
