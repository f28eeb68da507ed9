"""Suggestions: repairs of values that the flow would accept. The cleaners make candidates, the flow judges them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from lume_local._flow.definition import Flow
from lume_local._runs.rejected.mends import Mends
from lume_local._runs.row_reader import RowReader
from lume_local._runs.store.drafts import DraftRow, Reject
from lume_local._shared.protocol import Repair

_MOST_TRIES = 6
"""The number of candidates judged per value; each round is a dry run of all values together."""
_MOST_CHOICES = 1000


class Example(NamedTuple):
    """A value to repair, and a row that has it."""

    reject: Reject
    value: str


class AcceptedRepair(NamedTuple):
    """A repair, with the values that it turns into acceptable ones."""

    repair: str
    values: list[tuple[str, str]]


class Suggestions:
    def __init__(self, mends: Mends, reader: RowReader) -> None:
        self._mends, self._reader = mends, reader

    async def find(
        self, to: Flow, column: str, reason: str | None, examples: Sequence[Example], by: str
    ) -> list[AcceptedRepair]:
        """Return the repairs that free rows of the reason, or of all reasons if it is None.

        Repairs of the most values come first. Raises `ReplayRefused`, `WorkerDied`.
        """
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        left = await self._candidates(to, reason, examples)
        for _ in range(_MOST_TRIES):
            tried = {example: ways.pop(0) for example, ways in left.items() if ways}
            if not tried:
                break
            rows = [DraftRow(one.reject, {column: value or None}, 0) for one, (_, value) in tried.items()]
            verdicts, _ = await self._mends.verdicts(rows, to, by)
            for example, (repair, value) in tried.items():
                reasons = verdicts.get(example.reject)
                # The repair removes the given reason, or every reason if none was given.
                if reasons is not None and (reason not in reasons if reason is not None else not reasons):
                    found[repair].append((example.value, value))
                    del left[example]
        return [
            AcceptedRepair(repair, values)
            for repair, values in sorted(found.items(), key=lambda item: -len(item[1]))
        ]

    async def _candidates(
        self, to: Flow, reason: str | None, examples: Sequence[Example]
    ) -> dict[Example, list[tuple[str, str]]]:
        """Return the candidates for each value, each with the first repair that produces it."""
        blamed = (reason or "").partition(":")[0]
        choices = next((one.enum for one in to.columns if one.name == blamed), ())
        job = Repair([one.value for one in examples], [str(one) for one in choices[:_MOST_CHOICES]])
        made = (await self._reader.repair(job)).values
        found: dict[Example, list[tuple[str, str]]] = {}
        for number, example in enumerate(examples):
            ways = {
                value: repair for repair, of in reversed(made.items()) if (value := of[number]) is not None
            }
            found[example] = [(repair, value) for value, repair in reversed(ways.items())]
        return found
