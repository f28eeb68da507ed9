"""Outcomes and events of the synchronous API: its own runs, and every other field as the core set it."""

from attrs import fields

import lume_async
import lume_sync as lume
from lume_async.testing import FakeAnswer, fake_client, run_json
from lume_sync._bridge import in_event, in_outcome


def wrapped(core: lume_async.LumeRun) -> lume.LumeRun:
    return lume.LumeRun._wrap(core)


async def test_every_field_is_carried_over() -> None:
    client, _ = fake_client([FakeAnswer(200, run_json("run_1", "SUCCEEDED"))])
    run, request, error = await client.run_status("run_1"), lume.RunRequest("f:v1", "a.csv"), ValueError("x")
    outcome = in_outcome(wrapped)(lume.Outcome("run_1", run, None, request, remembered=True))
    failed = in_outcome(wrapped)(lume.Outcome[lume_async.LumeRun](None, None, error, request))
    event = in_event(wrapped)(lume.RunEvent(run, lume.RunStatus.CREATED, error))

    assert isinstance(outcome.run, lume.LumeRun)
    assert (outcome.run_id, outcome.error, outcome.request, outcome.remembered) == (
        "run_1",
        None,
        request,
        True,
    )
    assert (failed.run_id, failed.run, failed.error, failed.request) == (None, None, error, request)
    assert isinstance(event.run, lume.LumeRun)
    assert (event.previous, event.error) == (lume.RunStatus.CREATED, error)
    # A field that is added later has to be carried over, too: then this test wants a line more.
    assert [each.name for each in fields(lume.Outcome)] == ["run_id", "run", "error", "request", "remembered"]
    assert [each.name for each in fields(lume.RunEvent)] == ["run", "previous", "error"]
