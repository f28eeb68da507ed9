"""examples/server.py, as the other examples' readers start it."""

import re
import signal
from pathlib import Path

import pytest
from examples.support import EXAMPLES, FLOW, command, line_with

from lume_async import Client

SETTINGS = re.compile(r"^export( [A-Z_]+=\S+)+$")


@pytest.mark.thorough
async def test_it_serves_the_flows_with_the_settings_that_it_prints(tmp_path: Path) -> None:
    (tmp_path / "customers.csv").write_bytes((EXAMPLES / "data" / "customers.csv").read_bytes())
    server = command(str(EXAMPLES / "server.py"), "0", folder=tmp_path, env={}, flags=("-W", "error"))
    async with server as script:
        told = dict(
            word.split("=", 1) for word in (await line_with(script.process.stdout, SETTINGS)).split()[1:]
        )
        async with Client(told["LUME_API_KEY"], base_url=told["LUME_BASE_URL"]) as client:
            run = await client.run(FLOW, "customers.csv")
            assert (await run.wait(timeout=20)).status == "PARTIAL_FAILED"
        script.process.send_signal(signal.SIGINT)
        done = await script.end()

    assert set(told) == {"LUME_API_KEY", "LUME_BASE_URL", "LUME_WEBHOOK_SECRET"}
    assert (done.code, done.err) == (0, "")
