"""A process that is killed, stopped, short of files, or whose wall clock steps: one run, its true end, no error."""

import asyncio
import signal
import time
from datetime import timedelta

import pytest
from faults.support import FLOW, Script, client_for, run_script
from loopback import reply
from run_service import RunService

from lume_async import RunTimeoutError

SUBMIT_AND_WAIT = """
    import asyncio
    from lume_async import Client

    async def main():
        async with Client(proxy=False) as client:
            run = await client.run("flow:v1", "a.csv", force_rerun=True, idempotency_key="tuesday")
            await run.wait()
            print(run.id, run.status, run.reused)

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    "moment", ["before the answer", "before the first look", "in the middle of the wait"]
)
async def test_a_worker_that_is_killed_and_begins_again_has_one_run(moment: str) -> None:
    async with RunService(["CREATED", "TRANSFORMING", "SUCCEEDED"]) as service:
        match moment:
            case "before the answer":
                service.lose(reply(201).stall(), committed=True)
                requests = 1
            case "before the first look":
                service.fault(reply(200).stall())
                requests = 2
            case _:
                service.fault(None, reply(200).stall())
                requests = 3
        async with Script(SUBMIT_AND_WAIT, env={"LUME_BASE_URL": service.url}, forked=True) as first:
            await service.received(requests)
            first.process.send_signal(signal.SIGKILL)
            assert (await first.end()).out == ""

        second = await run_script(SUBMIT_AND_WAIT, env={"LUME_BASE_URL": service.url}, forked=True)

    assert second.err == ""
    assert second.out.split() == ["run_1", "SUCCEEDED", "True"]
    assert len(service.runs) == 1


STOPPED = """
    import asyncio, logging, sys, time
    from lume_async import Client

    logging.basicConfig(stream=sys.stdout, level=logging.WARNING)

    async def main():
        async with Client(proxy=False) as client:
            runs = [client.attach(f"run_{n}") for n in range(1, 21)]
            await asyncio.gather(*(run.wait(timeout=30, poll_interval=0.2) for run in runs))

    asyncio.run(main())
"""


@pytest.mark.thorough
async def test_a_process_that_was_stopped_looks_at_once_and_reports_no_error() -> None:
    """What a suspended machine does to a wait, as far as signals can show it."""
    async with RunService(["TRANSFORMING", "SUCCEEDED"], by_hand=True, capabilities=()) as service:
        for number in range(20):
            service.add(FLOW, f"{number}.csv")
        async with Script(STOPPED, env={"LUME_BASE_URL": service.url}, forked=True) as script:
            await service.received(60)
            script.process.send_signal(signal.SIGSTOP)
            before = len(service.requests)
            await asyncio.sleep(1.5)  # the fault itself, not a pause for things to settle
            for run in service.runs.values():
                service.move(run)
            script.process.send_signal(signal.SIGCONT)
            done = await script.end()

    assert (done.code, done.out, done.err) == (0, "", "")
    assert len(service.requests) - before <= 3 * 20  # one look each, and what was on its way


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1)], ids=["forward", "back"])
async def test_a_stepped_wall_clock_neither_ends_nor_extends_a_wait(
    step: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = time.time
    service = RunService(["TRANSFORMING", "SUCCEEDED"], by_hand=True, capabilities=())
    async with service, client_for(service) as client:
        first, second = await client.run(FLOW, "1.csv"), await client.run(FLOW, "2.csv")
        ends = asyncio.create_task(first.wait(timeout=30, poll_interval=0.05))
        late = asyncio.create_task(second.wait(timeout=1, poll_interval=0.05))
        await service.received(6)
        monkeypatch.setattr(time, "time", lambda: true() + step.total_seconds())
        seen = len(service.requests)
        await service.received(seen + 4)
        assert not ends.done()
        assert not late.done()

        service.move(service.runs[first.id])
        await ends
        with pytest.raises(RunTimeoutError):
            async with asyncio.timeout(20):
                await late


WAITS = 400
"""Three times as many as there may be open files; more of them only take longer."""

FEW_FILES = """
    import asyncio, resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    from lume_async import Client

    async def main():
        client = Client(proxy=False)
        runs = [client.attach("run_" + str(n)) for n in range(1, {waits} + 1)]
        if {single!r}:
            await asyncio.gather(*(run.wait(poll_interval=0.2) for run in runs))
        else:
            await client.wait_all(runs, poll_interval=0.2)
        print(sum(run.succeeded for run in runs))

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("single", "capabilities"),
    [(True, ("wait", "changes")), (False, ())],
    ids=["one wait each, long polls", "wait_all, plain"],
)
async def test_hundreds_of_waits_need_few_files(single: bool, capabilities: tuple[str, ...]) -> None:
    async with RunService(["TRANSFORMING", "SUCCEEDED"], capabilities=capabilities) as service:
        for number in range(WAITS):
            service.add(FLOW, f"{number}.csv")
        source = FEW_FILES.format(single=single, waits=WAITS)
        done = await run_script(
            source, env={"LUME_BASE_URL": service.url}, flags=("-X", "dev", "-W", "error"), forked=True
        )

    assert (done.code, done.out, done.err) == (0, f"{WAITS}\n", "")
    assert service.connections <= 110


async def test_one_client_in_two_loops_one_after_the_other_submits_once_each() -> None:
    source = """
        import asyncio
        from lume_async import Client

        client = Client(proxy=False)
        first = asyncio.run(client.run("flow:v1", "1.csv"))
        second = asyncio.run(client.run("flow:v1", "2.csv"))
        asyncio.run(first.wait())
        print(first.status, second.status)
    """
    async with RunService(["CREATED", "SUCCEEDED"]) as service:
        done = await run_script(
            source, env={"LUME_BASE_URL": service.url}, flags=("-X", "dev", "-W", "error"), forked=True
        )

    assert (done.code, done.out, done.err) == (0, "SUCCEEDED CREATED\n", "")
    assert len(service.runs) == 2
