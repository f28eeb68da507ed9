"""Programs under gevent: they work where what this package needs is left alone, else there is one clear error."""

import sys
import types

import pytest
from sync.conftest import RunScript, add
from sync.service import Service

from lume_sync._hops.portal import Portal

CALLS = """
import gevent, lume_sync as lume

def requests():
    for number in range(3):
        yield lume.RunRequest("f:v1", str(number))

calls = [
    lambda: str(lume.run_status("done").status),
    lambda: [str(run.status) for run in lume.watch("done")],
    lambda: sum(outcome.result().succeeded for outcome in lume.run_many(requests())),
    lambda: lume.Client(lambda: "key").run("f:v1", "s").wait().id,
    lambda: [job.get() for job in [gevent.spawn(lume.run_status, f"done{n}") for n in range(4)]] and "greenlets",
]
for call in calls:
    try:
        print(call())
    except RuntimeError as error:
        print(error)
"""
WORKS = "SUCCEEDED\n['SUCCEEDED']\n3\ndone-s\ngreenlets\n"
INSTEAD = "monkey.patch_all(thread=False, queue=False, select=False)"
REFUSED = (
    f"threads are patched by gevent, but lume_sync needs real OS threads: leave them unpatched, {INSTEAD},"
)


@pytest.mark.thorough
def test_what_is_left_unpatched_works(run_script: RunScript, service: Service) -> None:
    done = run_script(f"from gevent import monkey; {INSTEAD}\n" + CALLS, forked=False)
    assert (done.code, done.out, done.err) == (0, WORKS, "")


@pytest.mark.thorough
@pytest.mark.parametrize("loop", ["asyncio"], indirect=True)  # no loop begins
@pytest.mark.parametrize(
    "kept", ["", "thread=False", "thread=False, queue=False", "thread=False, select=False"]
)
def test_else_every_call_says_so(run_script: RunScript, service: Service, kept: str) -> None:
    done = run_script(f"from gevent import monkey; monkey.patch_all({kept})\n" + CALLS, forked=False)
    assert done.code == 0, done.err
    assert [line.startswith(REFUSED) for line in done.out.splitlines()] == [True] * 5


def test_so_does_a_call_after_a_late_patch(run_script: RunScript, service: Service) -> None:
    done = run_script(
        """
        import lume_sync, warnings
        print(lume_sync.run_status("done").status)
        warnings.simplefilter("ignore")  # gevent's own, about patching late
        from gevent import monkey
        monkey.patch_all()
        """
        + CALLS.replace("\n", "\n        ")
    )
    assert done.code == 0, done.err
    first, *others = done.out.splitlines()
    assert first == "SUCCEEDED"
    assert [line.startswith(REFUSED) for line in others] == [True] * 5


def test_eventlet_is_known_too(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    patched = {"thread"}
    patcher = types.SimpleNamespace(is_monkey_patched=patched.__contains__)
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)  # type: ignore[arg-type]
    with pytest.raises(
        RuntimeError, match=r"patched by eventlet.*monkey_patch\(thread=False, select=False\)"
    ):
        portal.call(add, 1)
    patched.clear()
    assert portal.call(add, 1).result() == 1
