"""The comparison of two checkouts, of this one with itself."""

import pytest

from benchmarks.compare import THIS, compared


@pytest.mark.thorough
def test_both_sides_are_measured_in_every_turn() -> None:
    found = compared({"A": THIS, "B": THIS}, 2, 1, 1, 4)

    assert {name.partition(",")[0] for name in found} == {
        *("import aiohttp", "from lume_async import Client", "`lume serve` to ready"),
        *("`serve_in_thread`", "the first run"),
        *("a run of 100 rows", "one of 4 by run_many", "GET /v1/runs/{id}"),
    }
    assert all(len(values) == 2 for sides in found.values() for values in (sides["A"], sides["B"]))
