"""The key is asked for once for all that wait for it."""

import asyncio

import pytest

from lume_async import Retry
from lume_async._base.clock import SystemClock
from lume_async._base.secret import Secret
from lume_async._http.api_key import Keys
from lume_async._http.lifetime import Lifetime
from lume_async.errors import (
    ApiConnectionError,
    ApiTimeoutError,
    AuthenticationError,
    ClientClosedError,
    ConfigurationError,
)
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json


def keys_of(source: object, *, keeps: bool = False) -> Keys:
    return Keys(source, Lifetime(SystemClock()), keeps=keeps)  # type: ignore[arg-type]


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


# Tokens, which are kept


async def test_a_kept_one_is_asked_for_anew_once_it_is_refused_and_not_for_an_older_refusal() -> None:
    answers = iter(["k1", "k2", "k3"])
    keys = keys_of(lambda: next(answers), keeps=True)

    assert [keys.known, await keys.get(), keys.known] == [None, "k1", "k1"]
    keys.refuse(Secret("k1"))
    assert [keys.known, await keys.get(), keys.known] == [None, "k2", "k2"]
    keys.refuse(Secret("k1"))  # of a request that was sent before
    keys.refuse(None)  # of one without a token
    assert keys.known == "k2"
    keys.refuse(Secret("k2"))
    assert [keys.known, await keys.get(), keys.known] == [None, "k3", "k3"]


async def test_a_fixed_one_stays_though_it_is_refused() -> None:
    keys = keys_of(Secret("k"), keeps=True)
    keys.refuse(Secret("k"))
    assert keys.known == "k"


class Issuer:
    """Issues t1, t2 …, of which `valid` says the one that the service takes; it fails when told to."""

    def __init__(self) -> None:
        self.issued, self.valid, self.fails = 0, 1, False

    async def __call__(self) -> str:
        await asyncio.sleep(0)
        if self.fails:
            raise OSError("canary-token")
        self.issued += 1
        return f"t{self.issued}"

    def answer(self, request: FakeRequest) -> FakeAnswer:
        if request.headers["Authorization"] != f"Bearer t{self.valid}":
            return FakeAnswer(401, {"title": "expired"})
        return FakeAnswer(200, run_json(request.path.rpartition("/")[2], "CREATED"))


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def test_many_calls_after_an_expiry_share_one_new_token(issuer: Issuer) -> None:
    client, transport = fake_client(issuer.answer, token=issuer)
    for _ in range(3):
        await client.run_status("run_1")
    assert issuer.issued == 1

    issuer.valid = 2
    await asyncio.gather(*(client.run_status(f"run_{n}") for n in range(40)))
    await client.with_options(request_timeout=5).run_status("run_1")
    assert issuer.issued == 2
    assert len(transport.requests) == 3 + 40 + 40 + 1


async def test_a_token_that_is_refused_anew_ends_the_call_and_is_not_sent_again(issuer: Issuer) -> None:
    issuer.valid = 3
    client, transport = fake_client(issuer.answer, token=issuer)
    with pytest.raises(AuthenticationError):
        await client.run_status("run_1")
    assert (await client.run_status("run_1")).id == "run_1"
    sent = [request.headers["Authorization"] for request in transport.requests]
    assert sent == ["Bearer t1", "Bearer t2", "Bearer t3"]


async def test_a_token_that_can_not_be_renewed_is_asked_for_by_the_next_call(issuer: Issuer) -> None:
    client, transport = fake_client(issuer.answer, token=issuer, retry=Retry(attempts=1))
    await client.run_status("run_1")
    issuer.valid, issuer.fails = 2, True
    with pytest.raises(ApiConnectionError, match="the token function failed: OSError") as caught:
        await client.run_status("run_1")
    assert "canary" not in str(caught.value)
    assert len(transport.requests) == 2  # nothing is sent with the refused one

    issuer.fails = False
    assert (await client.run_status("run_1")).id == "run_1"


async def test_who_may_not_keeps_the_token(issuer: Issuer) -> None:
    client, _ = fake_client(lambda request: FakeAnswer(403, {"title": "not yours"}), token=issuer)
    for _ in range(2):
        with pytest.raises(AuthenticationError):
            await client.run_status("run_1")
    assert issuer.issued == 1


async def test_the_function_of_a_key_is_called_before_each_request(issuer: Issuer) -> None:
    """It may refuse to give it, as that of the command line does where another program may listen now."""
    client, _ = fake_client(
        lambda request: FakeAnswer(200, run_json("run_1", "CREATED")), api_key=issuer, token=Secret("t")
    )
    for _ in range(3):
        await client.run_status("run_1")
    assert issuer.issued == 3
