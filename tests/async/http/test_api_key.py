"""The key is asked for once for all that wait for it."""

import asyncio

import pytest

from lume_async._base.clock import SystemClock
from lume_async._base.secret import Secret
from lume_async._http.api_key import Keys
from lume_async._http.lifetime import Lifetime
from lume_async.errors import ApiConnectionError, ApiTimeoutError, ClientClosedError, ConfigurationError
from lume_async.testing import fake_client


def keys_of(source: object) -> Keys:
    return Keys(source, Lifetime(SystemClock()))  # type: ignore[arg-type]


async def test_a_fixed_key_is_given_as_it_is() -> None:
    keys = keys_of(Secret("k"))

    assert await keys.get() == "k"
    assert not keys.rotates


async def test_a_plain_function_is_asked_each_time() -> None:
    answers = iter(["k1", "k2\n"])
    keys = keys_of(lambda: next(answers))

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
    keys = keys_of(vault)
    waiting = [asyncio.ensure_future(keys.get()) for _ in range(50)]
    await asyncio.sleep(0)
    vault.open.set()

    assert set(await asyncio.gather(*waiting)) == {"k1"}
    assert vault.asked == 1
    assert await keys.get() == "k2"


async def test_one_that_gives_up_does_not_take_the_answer_from_the_others() -> None:
    vault = Vault()
    keys = keys_of(vault)
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

    keys = keys_of(ask)
    results = await asyncio.gather(keys.get(), keys.get(), return_exceptions=True)

    assert [str(result) for result in results] == ["the api_key function failed: OSError"] * 2
    assert results[0] is not results[1]
    await asyncio.sleep(0)
    assert await keys.get() == "k"


async def test_a_function_that_fails_is_named_and_its_text_is_not_repeated() -> None:
    async def ask() -> str:
        raise LookupError("canary-key")

    with pytest.raises(ApiConnectionError, match="the api_key function failed: LookupError") as caught:
        await keys_of(ask).get(10)

    assert "canary" not in str(caught.value)
    assert isinstance(caught.value.__cause__, LookupError)
    assert caught.value.retryable
    assert not caught.value.reached


async def test_what_the_function_waits_for_may_be_cancelled_by_somebody_else() -> None:
    async def ask() -> str:
        raise asyncio.CancelledError

    with pytest.raises(ApiConnectionError, match="CancelledError"):
        await keys_of(ask).get(10)


async def test_the_question_ends_with_the_last_that_waits_for_it() -> None:
    vault = Vault()
    keys = keys_of(vault)
    waiting = [asyncio.ensure_future(keys.get()) for _ in range(2)]
    await asyncio.sleep(0)
    (question,) = asyncio.all_tasks() - {asyncio.current_task(), *waiting}
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, question, return_exceptions=True)

    assert question.cancelled()
    vault.open.set()
    assert await keys.get() == "k2"


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "from another thread"])
async def test_the_question_ends_when_the_client_closes(elsewhere: bool) -> None:
    client, transport = fake_client([], api_key=Vault())
    calls = [asyncio.ensure_future(client.run_status("run_1")) for _ in range(3)]
    while not (questions := asyncio.all_tasks() - {asyncio.current_task(), *calls}):
        await asyncio.sleep(0)
    await (asyncio.to_thread(asyncio.run, client.aclose()) if elsewhere else client.aclose())
    errors = await asyncio.gather(*calls, return_exceptions=True)

    assert [type(error) for error in errors] == [ClientClosedError] * 3
    assert all(question.done() for question in questions)
    assert transport.requests == []


@pytest.mark.parametrize("answer", ["", None, 5, "a\x00", b"k"])
async def test_what_is_no_key_is_refused(answer: object) -> None:
    with pytest.raises(ConfigurationError, match="the api_key function"):
        await keys_of(lambda: answer).get()


def test_each_loop_asks_for_itself() -> None:
    asked = []

    async def ask() -> str:
        asked.append(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return "k"

    keys = keys_of(ask)
    for _ in range(2):
        assert asyncio.run(keys.get()) == "k"

    assert len(set(asked)) == 2


async def test_a_function_that_takes_too_long_is_told() -> None:
    never = asyncio.Event()

    async def hangs() -> str:
        await never.wait()
        return "key"

    with pytest.raises(ApiTimeoutError, match="api_key function") as caught:
        await keys_of(hangs).get(0.01)
    assert not caught.value.reached
