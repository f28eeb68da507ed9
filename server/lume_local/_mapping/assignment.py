"""Assigns source columns to target columns, each at most once, so that the total is best. Pure."""

from collections.abc import Sequence

_LEAST = 0.05
"""Pairs below this likelihood are never chosen."""
_LARGEST = 400
"""Columns of a group up to which assignment is exact, with cubic cost; larger groups are assigned greedily."""


def assign(likely: Sequence[Sequence[float]]) -> list[int | None]:
    """Return the column for each row, so that the sum over all rows is maximal."""
    chosen: list[int | None] = [None] * len(likely)
    for rows, columns in _groups(likely):
        small = [[likely[row][column] for column in columns] for row in rows]
        exact = max(len(rows), len(columns)) <= _LARGEST
        for row, place in zip(rows, (_best if exact else _greedy)(small), strict=True):
            if place is not None and small[rows.index(row)][place] >= _LEAST:
                chosen[row] = columns[place]
    return chosen


def _groups(likely: Sequence[Sequence[float]]) -> list[tuple[list[int], list[int]]]:
    """Return independent groups of rows and columns that compete with each other."""
    of_rows = [[n for n, one in enumerate(row) if one >= _LEAST] for row in likely]
    of_columns: dict[int, list[int]] = {}
    for row, columns in enumerate(of_rows):
        for column in columns:
            of_columns.setdefault(column, []).append(row)
    groups, seen = [], set[int]()
    for first in range(len(likely)):
        if first in seen or not of_rows[first]:
            continue
        rows, seen_columns, todo = {first}, set[int](), [first]
        while todo:
            for column in of_rows[todo.pop()]:
                if column not in seen_columns:
                    seen_columns.add(column)
                    new = [row for row in of_columns[column] if row not in rows]
                    rows.update(new)
                    todo += new
        seen |= rows
        groups.append((sorted(rows), sorted(seen_columns)))
    return groups


def _greedy(likely: Sequence[Sequence[float]]) -> list[int | None]:
    pairs = sorted(((one, -r, -c) for r, row in enumerate(likely) for c, one in enumerate(row)), reverse=True)
    chosen: list[int | None] = [None] * len(likely)
    used = set[int]()
    for _, row, column in pairs:
        if chosen[-row] is None and -column not in used:
            chosen[-row] = -column
            used.add(-column)
    return chosen


def _best(likely: Sequence[Sequence[float]]) -> list[int | None]:
    """Apply the Hungarian method with potentials (Kuhn and Munkres), also to a matrix that is not square."""
    height, width = len(likely), len(likely[0])
    if height > width:
        turned = _best([list(column) for column in zip(*likely, strict=True)])
        back: list[int | None] = [None] * height
        for column, row in enumerate(turned):
            if row is not None:
                back[row] = column
        return back
    above, beside = [0.0] * (height + 1), [0.0] * (width + 1)
    owner = [0] * (width + 1)  # the row of each column, from 1 on; a search starts at column 0
    for row in range(1, height + 1):
        owner[0] = row
        _augment(likely, owner, above, beside)
    chosen: list[int | None] = [None] * height
    for column in range(1, width + 1):
        if owner[column]:
            chosen[owner[column] - 1] = column - 1
    return chosen


def _augment(
    likely: Sequence[Sequence[float]], owner: list[int], above: list[float], beside: list[float]
) -> None:
    """Assign a column to the row in `owner[0]`, and reassign other rows if that costs less."""
    width = len(beside) - 1
    least, before, used = [float("inf")] * (width + 1), [0] * (width + 1), [False] * (width + 1)
    column = 0
    while True:
        used[column] = True
        row, step, following = owner[column], float("inf"), 0
        costs, height = likely[row - 1], above[row]
        for other in range(1, width + 1):
            if used[other]:
                continue
            cost = -costs[other - 1] - height - beside[other]
            if cost < least[other]:
                least[other], before[other] = cost, column
            if least[other] < step:
                step, following = least[other], other
        for other in range(width + 1):
            if used[other]:
                above[owner[other]] += step
                beside[other] -= step
            else:
                least[other] -= step
        column = following
        if not owner[column]:
            break
    while column:
        owner[column] = owner[before[column]]
        column = before[column]
