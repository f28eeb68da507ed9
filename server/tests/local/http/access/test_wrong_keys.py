"""Wrong keys are answered at once at first, then a few per second; right ones always at once."""

import asyncio

import pytest
from local.wire import Wire

import lume_local
from lume_local._http.access import limits
from lume_local._http.access.limits import AT_ONCE, LONGEST, PER_SECOND, WrongKeys


def test_a_few_at_once_then_later_ones_wait_and_then_they_are_refused() -> None:
    now = 1000.0
    guard = WrongKeys(lambda: now)
    assert [guard.delay() for _ in range(AT_ONCE)] == pytest.approx([0.0] * AT_ONCE, abs=1e-6)
    waits = list(iter(guard.delay, None))
    assert waits == pytest.approx([n / PER_SECOND for n in range(1, len(waits) + 1)])
    assert LONGEST - 2 / PER_SECOND < waits[-1] <= LONGEST
    assert [guard.delay() for _ in range(1000)] == [None] * 1000
    now += 1 / PER_SECOND  # those that were refused have used up nothing
    assert guard.delay() == pytest.approx(waits[-1])
    assert guard.delay() is None
    now += 3600
    assert [guard.delay() for _ in range(AT_ONCE)] == pytest.approx([0.0] * AT_ONCE, abs=1e-6)
    assert guard.delay()


async def test_guessing_is_slowed_down_and_harms_no_one_else(
    server: lume_local.Server, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LONGEST", 0.0)
    guess, nobody = Wire(server.base_url, "guess"), Wire(server.base_url, "")
    del nobody.session.headers["lume-api-key"]
    async with guess.session, nobody.session:
        answers = await asyncio.gather(*(guess.ask("GET", "/v1/runs") for _ in range(AT_ONCE + 30)))
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) >= 20
        assert {answer.kind for answer in refused} == {"too-many-wrong-keys"}
        assert refused[0].headers["Retry-After"] == "5"
        assert (await wire.ask("GET", "/v1/runs")).status == 200
        assert (await nobody.ask("GET", "/v1/runs")).status == 401, "a request without a key guesses nothing"


async def test_two_keys_are_refused(server: lume_local.Server) -> None:
    """A proxy may look at one of them, the server at the other."""
    wire = Wire(server.base_url, server.api_key)
    async with wire.session:
        for other in ("wrong", server.api_key):
            answer = await wire.ask(
                "GET", "/v1/runs", headers=[("lume-api-key", server.api_key), ("lume-api-key", other)]
            )
            assert (answer.status, answer.kind) == (400, "malformed-request")
            assert "given more than once" in answer.document["detail"]
