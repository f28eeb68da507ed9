"""A machine whose wall clock is wrong, by days: what counts is the server's, as its `Date` shows it."""

import functools
import subprocess
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Any

import pytest
from components import component
from faults.certificates import Authority
from faults.support import FLOW, KEY, SOURCE, run_reply, run_script
from loopback import Loopback, Request, Step, forever, reset, throttled
from loopback_steps import Reply
from run_service import RunService

pytestmark = pytest.mark.once

FAKETIME = component("faketime")
OFFSETS = ["+3d", "-3d"]
FORMATS = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
"""IMF-fixdate, RFC 850, asctime (RFC 9110 §5.6.7)."""
PROGRAM = """
import asyncio, time
from lume_async import *

async def main():
    async with Client(proxy=False) as client:
        {body}

asyncio.run(main())
"""


@functools.cache
def wrong(offset: str) -> dict[str, str]:
    """What a program's environment needs for a clock that is wrong by that; the monotonic clock is right."""
    shown = subprocess.run(
        [FAKETIME, "--exclude-monotonic", "-f", offset, "env"], check=True, capture_output=True, text=True
    )
    lines = (line.partition("=") for line in shown.stdout.splitlines())
    wanted = ("LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC")
    return {name: value for name, _, value in lines if name in wanted}


@pytest.mark.parametrize("offset", OFFSETS)
async def test_the_clock_of_these_tests_is_wrong(offset: str) -> None:
    done = await run_script("import time; print(time.time(), time.monotonic())", env=wrong(offset))

    wall, monotonic = map(float, done.out.split())
    assert abs(wall - time.time()) > 60
    assert abs(monotonic - time.monotonic()) < 60


@pytest.mark.thorough
@pytest.mark.parametrize("offset", OFFSETS)
async def test_a_retry_after_date_counts_from_the_servers_date(offset: str) -> None:
    now = 1_800_000_000
    date = formatdate(now, usegmt=True)
    dates = {
        f"run_{number}": time.strftime(form, time.gmtime(now + 1)) for number, form in enumerate(FORMATS)
    }

    def answer(request: Request) -> Step:
        run_id = request.path.rpartition("/")[2]
        retry_after = dates.pop(run_id, None)
        return run_reply(run_id=run_id) if retry_after is None else throttled(retry_after, date=date)

    body = f"""
        async def timed(run_id):
            started = time.monotonic()
            await client.run_status(run_id)
            print(time.monotonic() - started)

        await asyncio.gather(*map(timed, {list(dates)}))
    """
    async with Loopback(answer) as server:
        done = await run_script(
            PROGRAM.format(body=body.strip()), env={"LUME_BASE_URL": server.url, **wrong(offset)}
        )

    waits = [float(line) for line in done.out.split()]
    assert len(waits) == len(FORMATS), done
    assert 1.0 <= min(waits) <= max(waits) < 5.0


class Dated(RunService):
    """Says what time it is, as every real service does."""

    def _json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> Reply:
        return super()._json(status, body, {"Date": formatdate(usegmt=True), **(headers or {})})


@pytest.mark.parametrize(("whose", "offset"), [("ours", "+3d"), ("somebody else's", "-3d")])
async def test_a_lost_run_is_told_from_an_older_one(whose: str, offset: str) -> None:
    """Without idempotency keys a 409 names the run that holds the source: the age of that run decides."""
    async with Dated(capabilities=()) as service:
        if whose != "ours":
            older = service.add(source_path=SOURCE, flow_version=FLOW)
            older.created_at = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
        service.lose(reset(), committed=whose == "ours")
        body = f"""
        try:
            print("a run", (await client.run({FLOW!r}, {SOURCE!r})).id)
        except LumeError as error:
            print(type(error).__name__)
        """
        done = await run_script(
            PROGRAM.format(body=body.strip()), env={"LUME_BASE_URL": service.url, **wrong(offset)}
        )

    assert len(service.runs) == 1
    assert done.out == ("a run run_1\n" if whose == "ours" else "DuplicateRunError\n"), done


@pytest.mark.thorough
@pytest.mark.parametrize(("offset", "words"), [("+3d", "has expired"), ("-30d", "not yet valid")])
async def test_a_certificate_that_this_clock_does_not_accept(
    offset: str, words: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    body = """
        try:
            await client.run_status("run_1")
        except ApiConnectionError as error:
            print(error.reached, error)
    """
    async with Loopback([forever(run_reply())], ssl=authority.server()) as server:
        env = {"LUME_BASE_URL": server.url, "SSL_CERT_FILE": str(authority.ca_file), **wrong(offset)}
        done = await run_script(PROGRAM.format(body=body.strip()), env=env)

    assert done.out.startswith("False "), done
    assert words in done.out
    assert server.requests == []
    assert KEY not in done.out
