"""The staged rows of all shards as those of one run: numbered from the first to the last. Pure."""

# ruff: noqa: S608 - the parts of its SQL are numbers and quoted texts.
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from attrs import field, frozen

from lume_local._worker.compiler.checks import text

_NUMBER = 6
"""Digits of the number of a part, which its file is called by."""


def part_name(number: int) -> str:
    """The name of a part's file."""
    return f"{number:0{_NUMBER}}.parquet"


@frozen(slots=False)
class Parts:
    """The results of the tasks that have staged the shards, in their order."""

    staged: Sequence[dict[str, Any]] = field(repr=False)

    @cached_property
    def offsets(self) -> list[int]:
        """How many rows come before each part."""
        found, rows = [], 0
        for one in self.staged:
            found.append(rows)
            rows += one["rows"]
        return found

    @property
    def all(self) -> str:
        """SQL for all rows in their order, with `file_row_number` as if they were in one file."""
        files = ", ".join(text(one["path"]) for one in self.staged)
        offsets = ", ".join(map(str, self.offsets))
        suffix = len(part_name(0))
        part = f"CAST(substr(_lume_part, -{suffix}, {_NUMBER}) AS BIGINT)"
        return (
            f"(SELECT * EXCLUDE (_lume_part) REPLACE (file_row_number + CAST([{offsets}] AS BIGINT[])[{part} + 1] "
            f"AS file_row_number) FROM read_parquet([{files}], file_row_number=true, filename='_lume_part'))"
        )

    def part(self, number: int) -> str:
        """SQL for the rows of one part, with the numbers that they have among all."""
        return (
            f"(SELECT * REPLACE (file_row_number + {self.offsets[number]} AS file_row_number) "
            f"FROM read_parquet({text(self.staged[number]['path'])}, file_row_number=true))"
        )

    def span(self, number: int) -> tuple[int, int]:
        """The numbers that the rows of one part have, from and to."""
        start = self.offsets[number]
        return start, start + self.staged[number]["rows"]

    def counts(self) -> list[int]:
        """Rows, rejects, then how many rows break each check, as `Statements.counts` gives them."""
        columns = zip(*([one["rows"], one["rejected"], *one["broken"]] for one in self.staged), strict=True)
        return [sum(column) for column in columns]
