"""Where returned rows come from: rejects that are submitted, replayed or edited and submitted. Its values.

A row is judged with the accepted rows of its source: those of the first run on it, and those of all runs on the
rejects of that run, or on theirs.
"""

from attrs import frozen

Slice = tuple[tuple[int, int], ...] | None
"""Some of the rows of a run: where each part begins, from 0, and how many rows it has; None means all."""
ALL: Slice = None


@frozen
class Origin:
    """The first run on a source, and which records of a run on rejects are rows of it.

    Of a run on corrected rejects, `records` are numbers of the rejects that it corrects.
    """

    root: str
    records: Slice
