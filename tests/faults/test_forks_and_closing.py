"""Threads use a client, one closes it, and the process forks: in any order, everybody ends at once and properly."""

import pytest
from faults.support import ENOUGH, SEED, run_reply, run_script
from loopback import Loopback, forever
from loops import prelude

PROGRAM = f"""
import asyncio, os, random, signal, sys, threading, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # forks with threads: here that is the point
import lume_async, lume_sync

random.seed({SEED})

class Sync:
    Client = lume_sync.Client
    use = staticmethod(lambda client: client.run_status("run_1"))
    close = staticmethod(lambda client: client.close())

class Async:
    Client = lume_async.Client
    use = staticmethod(lambda client: asyncio.run(client.run_status("run_1")))
    close = staticmethod(lambda client: asyncio.run(client.aclose()))

def hammer(api, client, surprises):
    try:
        while True:
            assert api.use(client).succeeded
    except lume_async.ClientClosedError:
        pass
    except BaseException as error:
        surprises.append(error)

def child(api, client, closed_before):
    signal.alarm({int(ENOUGH)})
    surprises = []
    try:
        assert api.use(client).succeeded
        assert not closed_before
    except lume_async.ClientClosedError:
        pass
    api.close(client)  # the child's own connections, none of the parent's
    api.close(client)
    hammer(api, client, surprises)
    fresh = api.Client(proxy=False)
    assert api.use(fresh).succeeded
    api.close(fresh)
    return not surprises

def round_(api):
    client, other, surprises, children = api.Client(proxy=False), api.Client(proxy=False), [], []
    threads = [threading.Thread(target=hammer, args=[api, client, surprises]) for _ in range(3)]
    closed = threading.Event()

    def close():
        time.sleep(random.uniform(0, 0.05))
        closed.set()
        api.close(client)

    threads.append(threading.Thread(target=close))
    for thread in threads: thread.start()
    for _ in range(3):
        time.sleep(random.uniform(0, 0.03))
        before = closed.is_set() and not threads[-1].is_alive()
        pid = os.fork()
        if pid == 0:
            code = 2
            try:
                code = 0 if child(api, client, before) else 1
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(pid)
        assert api.use(other).succeeded
    for thread in threads: thread.join()
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    assert api.use(other).succeeded  # no child has ended its connections
    api.close(other)
    return codes, surprises

for _ in range(6):
    codes, surprises = round_(NAME)
    assert codes == [0, 0, 0] and not surprises, (codes, surprises)
print("ended")
"""


@pytest.mark.parametrize("api", ["Sync", "Async"])
async def test_threads_forks_and_closing_in_any_order(api: str) -> None:
    if api == "Async" and prelude():
        # It asks them for an address before it connects; not on the loop of lume_sync (see `loop_factory` there).
        pytest.skip("uvloop's: the threads of libuv may hang in a child that was forked beside other loops")
    async with Loopback([forever(run_reply())]) as server:
        done = await run_script(PROGRAM.replace("NAME", api), env={"LUME_BASE_URL": server.url}, forked=True)

    assert (done.code, done.out, done.err) == (0, "ended\n", "")
