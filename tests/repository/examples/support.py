"""What the tests of the examples share: their commands in processes of their own, and a service that is busy."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from faults.support import ENOUGH, ROOT, Script

import lume_local
from lume_async import Client

EXAMPLES = ROOT / "examples"
FLOW = "customer_cleaner:v1"
SECRET = "whisper"

ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


def command(*words: str, folder: Path, env: Mapping[str, str], flags: tuple[str, ...] = ()) -> Script:
    """`python WORDS`, in that folder: words as one would type them, `-m module …` or `file.py …`."""
    module = words[0] == "-m"
    name, *arguments = words[module:]
    source = f"""
        import os, runpy, sys
        os.chdir({str(folder)!r})
        sys.argv = {[name, *arguments]!r}
        runpy.{"run_module" if module else "run_path"}({name!r}, run_name="__main__")
        """
    return Script(source, env=env, flags=flags)


async def line_with(stream: asyncio.StreamReader | None, pattern: re.Pattern[str]) -> str:
    """What the pattern finds in the first line that has it."""
    assert stream is not None
    lines = []
    async with asyncio.timeout(ENOUGH):
        while line := (await stream.readline()).decode():
            lines.append(line)
            if found := pattern.search(line):
                return found[0]
    raise AssertionError(f"it ended, and said only {''.join(lines)}")


@asynccontextmanager
async def busy(server: lume_local.ThreadedServer) -> AsyncIterator[None]:
    """The only place of the server is taken as long as the block lasts: runs stay CREATED."""
    async with Client(server.api_key, base_url=server.base_url) as client:
        run = await client.run("slow:v1", "slow.csv", force_rerun=True)
        try:
            yield
        finally:
            await run.cancel()
            await client.wait_all([run], timeout=ENOUGH)
