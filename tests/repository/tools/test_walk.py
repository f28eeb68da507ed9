"""The tracer of walks: what it counts."""

import sys
from pathlib import Path

TOOLS = Path(__file__).parents[3] / "tools"
sys.path.insert(0, str(TOOLS))  # a script beside others, not a package

import walk  # noqa: E402

from lume_async import testing  # noqa: E402


def steps(*files: str) -> list[walk.Step]:
    return [walk.Step(file, "function", walk.MEMORABLE) for file in files]


def test_a_crossing_is_a_change_of_files_between_two_steps() -> None:
    assert walk.crossings(steps()) == walk.crossings(steps("a", "a")) == 0
    assert walk.crossings(steps("a", "a", "b", "a")) == 2


def test_short_functions_are_read_in_passing() -> None:
    short = walk.Step("b", "name", walk.MEMORABLE - 1)

    assert walk.memorable([*steps("a"), short, *steps("a")]) == steps("a", "a")


def test_a_docstring_is_no_line_of_code() -> None:
    def documented() -> int:
        """One.

        Two.
        """
        return 1

    assert walk.lines_of(documented.__code__) == 2


async def test_both_walks_go_from_the_public_call_to_the_transport_and_back() -> None:
    walks = await walk.walks(testing)

    for found, first in zip(walks.values(), ("Client.run", "LumeRun.wait"), strict=True):
        assert found[0].function == first
    submitting, waiting = ([step.function for step in found] for found in walks.values())
    assert submitting.count("Sender._attempt") == 1
    assert waiting.count("Sender._attempt") == 3


async def test_a_coroutine_that_goes_on_is_not_entered_again() -> None:
    submitting, _ = (await walk.walks(testing)).values()

    assert [step.function for step in submitting].count("Client.run") == 1
