"""Real servers with a limit, and a real client: few are refused, and the end does not come much later for it.

Shares of counted requests are asserted, and no times: how quickly a busy machine answers says nothing.
"""

import pytest
from limits import LimitedServer, TokenBucket
from real_limits import crowd, haproxy, loopback

RUNS = 300


@pytest.mark.thorough
async def test_a_server_that_answers_at_once_refuses_few() -> None:
    """After a time without a limit: the goodput of that time says nothing of what the limit takes."""
    server = LimitedServer(TokenBucket(50.0, 20.0), free_until=1.0)

    measured = await crowd(loopback(server, lasts=2.0), RUNS)

    assert measured.refused == server.refused / server.arrived
    assert 0 < measured.refused < 0.25


@pytest.mark.thorough
async def test_haproxy_refuses_few() -> None:
    """It counts what it refuses, too: a client that keeps sending is refused for ever."""
    measured = await crowd(haproxy(50, lasts=2.0), RUNS)

    assert measured.statuses[200] >= RUNS
    assert 0 < measured.refused < 0.4
