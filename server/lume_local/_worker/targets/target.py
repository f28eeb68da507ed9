"""The interface of a target to the engine. A new kind is one file beside this one, and a line in `target_kinds`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from lume_local._shared.obstacle import Obstacle

Step = dict[str, Any]
"""What is left to be done for one target once a run has committed: plain JSON, with the `kind` of the target."""
Begin = Callable[[Step], None]


class TargetError(Obstacle):
    """A target can't be written, or what has committed can't be published."""


def refuse_overtaken(step: Step) -> None:
    """Raise `TargetError` if a later run has written to the step's place."""
    if why := step.get("overtaken"):
        raise TargetError(why)


class StepKind(Protocol):
    """What carries out a kind of steps."""

    @staticmethod
    def publish(step: Step) -> None:
        """Carry out what `prepare` returned. Repeating it does no harm. Raises OSError or `TargetError`.

        A step that has `overtaken` must not replace what is there: if it was not carried out before, that is raised.
        """
        ...

    @staticmethod
    def abandon(step: Step) -> None:
        """Undo what was given to `begin`, as far as it was done. Repeating it does no harm. Raises as `publish`."""
        ...


class Target(StepKind, Protocol):
    """One place that the rows of a run go to.

    The engine calls `check` before it reads anything, builds a file of the rows in the run's folder, then calls
    `prepare`, of the rejects' target first. What all of them return is the commit, one small file; `publish` then
    carries the steps out in the same order. A process can be killed between any two instructions:

    - before the commit nothing of the run may be visible, and what was begun outside of its folder is undone
      by `abandon`: in the same process, or in another one, from the steps given to `begin` alone;
    - after it every step is carried out, by this process or another one, perhaps more than once.

    Attributes:
        suffix: `.parquet`, `.csv` or `.ndjson`: in what form `prepare` wants the rows.
        location: what the run's `target_locations` says.
        place: the same for two targets (or a source) of which one would take the other's place.
    """

    suffix: str
    location: str
    place: str

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        """`part` is `mapped` or `rejects`; `place` is JSON, which the server derives from the flow."""
        ...

    def check(self) -> None:
        """Find mistakes before anything is read. Raises `TargetError`."""
        ...

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Do all that can fail before anything is visible; return the step that is left. Raises `TargetError`.

        `built` is a durable file in the run's folder, which lasts until the step was carried out. Call `begin`
        before anything is created elsewhere: it returns once the step is noted durably.
        """
        ...
