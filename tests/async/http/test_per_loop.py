import asyncio
import gc
import weakref

import pytest

from lume_async._http.lifetime import PerLoop


class Thing:
    """Something that can be referred to weakly."""


async def test_a_loop_has_one_value() -> None:
    things = PerLoop(Thing)

    assert things.get() is things.get()


def test_each_loop_has_its_own_and_takes_it_along() -> None:
    things = PerLoop(Thing)

    async def get() -> Thing:
        return things.get()

    first, second = asyncio.run(get()), asyncio.run(get())
    assert first is not second

    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None


def test_without_a_loop_there_is_no_value() -> None:
    with pytest.raises(RuntimeError, match="no asyncio event loop is running"):
        PerLoop(Thing).get()
