"""The processes that a forked `lume` starts, forked as well: from a server beside its own, which has DuckDB.

`lume` itself has not. One that serves starts real workers, for its end is what many tests are about.
"""

import sys
from functools import partial

from fork_server import own
from forked import WORKERS, begin_sample, start_forked

from lume_local._runs.workers import child
from lume_local._samples import opening

server = own(*WORKERS)


async def start(program: str, environment: dict[str, str], longest_line: int) -> child.ChildProcess:
    if "serve" in sys.argv:
        return await child.start_process(program, environment, longest_line)
    return await start_forked(program, environment, longest_line, server=server)


child.default_start = start
opening.begin = partial(begin_sample, server=server)  # type: ignore[assignment]
