"""What does one `run_status` cost, beside the same GET by its peers? Against nginx, which is no bottleneck.

All send an API key with each request, as the service demands.

Prints CPU per request (one at a time, 64 at a time), and the cost of decoding.
Needs `nginx` on the path; peers that are not installed are left out.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator

import aiohttp
import orjson

import lume_async
from benchmarks._bench import header, interleaved, table, version
from lume_async._wire.answers import run_record
from lume_async.testing import run_json

RUN = "run_01J9ZQ4T6W"
RAW, OURS = "aiohttp + orjson", "lume_async.run_status"
MANY, TURN, TURNS = 64, 192, 60
KEY = {"lume-api-key": "key"}


def body() -> bytes:
    """A finished run of about 1.2 KB."""
    stages = [
        {
            "name": name,
            "started_at": "2026-01-01T00:00:01Z",
            "finished_at": "2026-01-01T00:00:02Z",
            "rows": 1000,
        }
        for name in ("SYNCING_SOURCE", "TRANSFORMING", "SYNCING_TARGET")
    ]
    metadata = {
        "run": {"run_id": RUN, "flow_version": "customer_cleaner:v1", "status": "PARTIAL_FAILED"},
        "stages": stages,
        "metrics": {
            "rows_read": 1000,
            "rows_mapped": 950,
            "rows_rejected": 50,
            "reject_reasons": {"email: not an e-mail address": 30, "customer_id: duplicate": 20},
        },
        "target_locations": {
            "mapped": "s3://bucket/out/mapped.parquet",
            "rejects": "s3://bucket/out/rejects.csv",
        },
        "error_message": None,
    }
    times = {"started_at": "2026-01-01T00:00:01Z", "finished_at": "2026-01-01T00:00:04Z"}
    return json.dumps(run_json(RUN, "PARTIAL_FAILED", metadata=metadata, **times)).encode()


@contextlib.contextmanager
def nginx() -> Iterator[str]:
    """A static file at the place where a run would be."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        target = pathlib.Path(folder, "v1", "runs", RUN)
        target.parent.mkdir(parents=True)
        target.write_bytes(body())
        os.chmod(folder, 0o755)
        config = pathlib.Path(folder, "nginx.conf")
        config.write_text(
            f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
            "events { worker_connections 512; }\n"
            "http { access_log off; keepalive_requests 10000000; default_type application/json;\n"
            f"  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;\n"
            f"  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"  server {{ listen 127.0.0.1:{port}; root {folder}; }} }}\n"
        )
        server = subprocess.Popen([shutil.which("nginx") or "nginx", "-c", str(config), "-p", folder])
        try:
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def contestants(
    url: str,
) -> dict[str, Callable[[], contextlib.AbstractAsyncContextManager[Callable[[], Awaitable[object]]]]]:
    """For each: opens it, gives the function that makes one request, closes it."""
    path = f"{url}/v1/runs/{RUN}"

    @contextlib.asynccontextmanager
    async def ours():
        async with lume_async.Client("key", base_url=url, proxy=False) as client:
            yield lambda: client.run_status(RUN)

    @contextlib.asynccontextmanager
    async def raw():
        async with aiohttp.ClientSession() as session:

            async def get() -> object:
                async with session.get(path, headers=KEY) as response:
                    return orjson.loads(await response.read())

            yield get

    @contextlib.asynccontextmanager
    async def by_httpx():
        import httpx

        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=MANY)) as client:
            yield lambda: _json(client.get(path, headers=KEY))

    @contextlib.asynccontextmanager
    async def by_openai():
        import openai

        async with openai.AsyncOpenAI(api_key="key", base_url=f"{url}/v1") as client:
            yield lambda: client.get(f"/runs/{RUN}", cast_to=object)

    found = {RAW: raw, OURS: ours}
    found |= {"httpx": by_httpx} if version("httpx") else {}
    found |= {"openai": by_openai} if version("openai") else {}
    return found


def _ratio(results: dict[str, list[float]], mine: str, its: str) -> float:
    return statistics.median(a / b for a, b in zip(results[mine], results[its], strict=True))


async def _json(answer: Awaitable[object]) -> object:
    return (await answer).json()


def costs(url: str, at_a_time: int) -> dict[str, list[float]]:
    """Seconds of processor time per request. All are open in one loop and take short turns, and many of them.

    What else the machine does then hits all alike, and the median of the ratios hardly moves with it.
    """
    each = max(2, TURN // at_a_time)

    async def turn(get: Callable[[], Awaitable[object]]) -> float:
        async def worker() -> None:
            for _ in range(each):
                await get()

        begin = time.thread_time()
        await asyncio.gather(*(worker() for _ in range(at_a_time)))
        return (time.thread_time() - begin) / (each * at_a_time)

    async def opened(stack: contextlib.AsyncExitStack) -> dict[str, Callable[[], Awaitable[object]]]:
        found = {name: await stack.enter_async_context(new()) for name, new in contestants(url).items()}
        for get in found.values():
            await turn(get)
        return found

    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        found = runner.run(opened(stack))
        try:
            return interleaved(
                {name: lambda g=get: runner.run(turn(g)) for name, get in found.items()}, TURNS
            )
        finally:
            runner.run(stack.aclose())


def decoding() -> None:
    text = body()

    def timed(function: Callable[[bytes], object]) -> float:
        begin = time.perf_counter()
        for _ in range(20_000):
            function(text)
        return (time.perf_counter() - begin) / 20_000

    results = interleaved(
        {"orjson.loads": lambda: timed(orjson.loads), "a run, its metadata lazy": lambda: timed(_lazy)}
    )
    table(results, "orjson.loads", unit="us", scale=1e6)


def _lazy(text: bytes) -> object:
    return run_record(orjson.loads(text), run_id=RUN)  # as `run_status` does: the run that was asked for


def main() -> None:
    header("aiohttp", "orjson", "httpx", "openai")
    if shutil.which("nginx") is None:
        sys.exit("nginx is needed: apt-get install nginx-light")
    with nginx() as url:
        for at_a_time in (1, MANY):
            print(f"\nCPU per request, {at_a_time} at a time ({TURNS} turns of about {TURN})")
            results = costs(url, at_a_time)
            table(results, RAW, unit="us", scale=1e6)
            print(f"requests per second of CPU time, beside {RAW}: {_ratio(results, RAW, OURS):.2f}")
            for peer in ("openai", "httpx"):
                if peer in results:
                    print(f"{OURS} / {peer}: {_ratio(results, OURS, peer):.2f}")
    print("\nDecoding")
    decoding()


if __name__ == "__main__":
    main()
