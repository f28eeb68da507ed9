"""What many triggers ask of their supervisor: it answers one message at a time."""

import asyncio

import pytest

from lume_airflow import _supervisor
from lume_airflow._supervisor import ask_once, in_turn


class Supervisor:
    """Counts the questions, and how many were under way at once."""

    def __init__(self) -> None:
        self.questions = 0
        self.at_once = self.most = 0

    async def ask(self) -> int:
        self.questions += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return self.questions

    async def refuse(self) -> int:
        self.questions += 1
        await asyncio.sleep(0)
        raise OSError("no supervisor")


async def test_what_all_ask_is_asked_once() -> None:
    supervisor = Supervisor()
    assert await asyncio.gather(*(ask_once("it", supervisor.ask) for _ in range(200))) == [1] * 200
    assert await ask_once("something else", supervisor.ask) == 2


async def test_an_answer_grows_old(monkeypatch) -> None:
    supervisor = Supervisor()
    assert await ask_once("it", supervisor.ask) == 1
    monkeypatch.setattr(_supervisor, "FRESH", 0.0)
    assert await ask_once("it", supervisor.ask) == 2


async def test_a_failure_is_no_answer() -> None:
    supervisor = Supervisor()
    with pytest.raises(OSError, match="no supervisor"):
        await ask_once("it", supervisor.refuse)
    assert await ask_once("it", supervisor.ask) == 2


async def test_who_is_cancelled_takes_the_answer_from_nobody() -> None:
    supervisor = Supervisor()
    first = asyncio.ensure_future(ask_once("it", supervisor.ask))
    second = asyncio.ensure_future(ask_once("it", supervisor.ask))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 1


async def test_few_push_at_a_time() -> None:
    supervisor = Supervisor()
    await asyncio.gather(*(in_turn(supervisor.ask) for _ in range(50)))
    assert (supervisor.questions, supervisor.most) == (50, _supervisor.AT_ONCE)
