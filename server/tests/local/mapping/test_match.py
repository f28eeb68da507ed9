"""The assignment is the best over all rows."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from lume_local._mapping.match import assign

ONE = st.integers(0, 20).map(lambda n: n / 20)


@st.composite
def matrices(draw: st.DrawFn) -> list[list[float]]:
    width = draw(st.integers(1, 5))
    return draw(st.lists(st.lists(ONE, min_size=width, max_size=width), min_size=1, max_size=5))


def total(likely: list[list[float]], chosen: list[int | None]) -> float:
    return sum(likely[row][column] for row, column in enumerate(chosen) if column is not None)


@given(matrices())
def test_no_other_assignment_is_better(likely: list[list[float]]) -> None:
    chosen = assign(likely)
    used = [column for column in chosen if column is not None]
    assert len(used) == len(set(used)), "no column is used twice"
    height, width = len(likely), len(likely[0])
    places = [*range(width), *[None] * height]
    best = max(total(likely, list(order)) for order in set(permutations(places, height)))
    assert abs(total(likely, chosen) - best) < 1e-9


def test_what_is_not_likely_at_all_is_not_assigned() -> None:
    assert assign([[0.04, 0.0], [0.0, 0.9]]) == [None, 1]
    assert assign([[]]) == [None]
    assert assign([]) == []


def test_many_columns_that_compete_are_assigned_in_time() -> None:
    likely = [[((row * column) % 97) / 97 for column in range(300)] for row in range(300)]
    chosen = assign(likely)
    assert len({column for column in chosen if column is not None}) > 250
