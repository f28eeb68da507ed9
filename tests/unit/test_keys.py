"""The key is asked for once for all that wait for it."""

import asyncio
from typing import Any

import pytest

from lume_async._keys import Keys
from lume_async._secret import Secret
from lume_async.errors import ApiTimeoutError, ConfigurationError


async def test_a_fixed_key_is_given_as_it_is() -> None:
    keys = Keys(Secret("k"))

    assert await keys.get() == "k"
    assert not keys.rotates


async def test_a_plain_function_is_asked_each_time() -> None:
    answers = iter(["k1", "k2\n"])
    keys = Keys(lambda: next(answers))

    assert keys.rotates
    assert [await keys.get(), await keys.get()] == ["k1", "k2"]


class Vault:
    """Gives k1, k2 … to those who wait until it is opened."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()

    async def __call__(self) -> str:
        self.asked += 1
        await self.open.wait()
        return f"k{self.asked}"


async def test_all_that_wait_share_one_answer() -> None:
    vault = Vault()
    keys = Keys(vault)
    waiting = [asyncio.ensure_future(keys.get()) for _ in range(50)]
    await asyncio.sleep(0)
    vault.open.set()

    assert set(await asyncio.gather(*waiting)) == {"k1"}
    assert vault.asked == 1
    assert await keys.get() == "k2"


async def test_one_that_gives_up_does_not_take_the_answer_from_the_others() -> None:
    vault = Vault()
    keys = Keys(vault)
    first, second = asyncio.ensure_future(keys.get()), asyncio.ensure_future(keys.get())
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    vault.open.set()

    assert await second == "k1"
    assert first.cancelled()


async def test_an_error_reaches_all_that_wait_and_is_not_kept() -> None:
    answers = iter([OSError("vault is down"), "k"])

    async def ask() -> str:
        await asyncio.sleep(0)
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    keys = Keys(ask)
    results = await asyncio.gather(keys.get(), keys.get(), return_exceptions=True)

    assert [str(result) for result in results] == ["vault is down"] * 2
    assert results[0] is not results[1]
    await asyncio.sleep(0)
    assert await keys.get() == "k"


class Sealed(Exception):
    """Can't be copied: its arguments are not those of its class."""

    def __init__(self, *, why: str) -> None:
        super().__init__(why)


@pytest.mark.parametrize("cause", [None, OSError("below")])
@pytest.mark.parametrize("make", [TimeoutError, KeyError, lambda text: Sealed(why=text)])
async def test_an_error_of_the_function_arrives_as_it_is(make: Any, cause: Exception | None) -> None:
    async def ask() -> str:
        raise make("no vault") from cause

    with pytest.raises(type(make("x"))) as caught:
        await Keys(ask).get(10)

    assert caught.value.args == ("no vault",)
    assert caught.value.__cause__ is cause
    assert [frame.name for frame in caught.traceback][-1] == "ask"


@pytest.mark.parametrize("answer", ["", None, 5, "a\x00", b"k"])
async def test_what_is_no_key_is_refused(answer: object) -> None:
    with pytest.raises(ConfigurationError, match="the api_key function"):
        await Keys(lambda: answer).get()


def test_each_loop_asks_for_itself() -> None:
    asked = []

    async def ask() -> str:
        asked.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return "k"

    keys = Keys(ask)
    for _ in range(2):
        assert asyncio.run(keys.get()) == "k"

    assert len(set(asked)) == 2


async def test_a_function_that_takes_too_long_is_told() -> None:
    never = asyncio.Event()

    async def hangs() -> str:
        await never.wait()
        return "key"

    with pytest.raises(ApiTimeoutError, match="api_key function") as caught:
        await Keys(hangs).get(0.01)
    assert not caught.value.reached
