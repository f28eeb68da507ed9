"""`lume run --wait` against a server that sends optional members as null, as those made with pydantic do."""

import asyncio
import json
from pathlib import Path

from aiohttp import web
from cli.shell import Shell, environment

RUN = json.loads((Path(__file__).parents[2] / "contract" / "run_succeeded.json").read_text())


async def test_null_warnings_do_not_end_a_wait(tmp_path: Path) -> None:
    nulls = {"warnings": None, "source": None, "reject_reasons": None}
    run = RUN | {
        "progress": None,
        "metadata": RUN["metadata"] | {"metrics": RUN["metadata"]["metrics"] | nulls},
    }

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(run, status=201 if request.method == "POST" else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        shell = Shell(tmp_path, environment(tmp_path, LUME_BASE_URL=url, LUME_API_KEY="key"))
        done = await asyncio.to_thread(shell.lume, "run", "people:v1", "people.csv", "--wait")
    finally:
        await runner.cleanup()

    assert (done.code, done.out.split()[:1]) == (0, [RUN["id"]]), done
