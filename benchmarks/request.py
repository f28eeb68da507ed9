"""What does one `run_status` cost, beside the same GET by its peers? Against nginx, which is no bottleneck.

All send an API key with each request, as the service demands.

Prints CPU per request (one at a time, 64 at a time), requests per second (64 at a time), and the cost of decoding.
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
from _bench import ROUNDS, header, interleaved, table, version

import lume_async
from lume_async._wire.answers import run_record
from lume_async.testing import run_json

RUN = "run_01J9ZQ4T6W"
REQUESTS = 600
MANY = 64
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

    found = {"aiohttp + orjson": raw, "lume_async.run_status": ours}
    found |= {"httpx": by_httpx} if version("httpx") else {}
    found |= {"openai": by_openai} if version("openai") else {}
    return found


async def _json(answer: Awaitable[object]) -> object:
    return (await answer).json()


def cost(opened, at_a_time: int, requests: int, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds per request, of CPU time where no other clock is given."""
    each = max(1, requests // at_a_time)

    async def measure() -> float:
        async with opened() as get:

            async def worker(times: int) -> None:
                for _ in range(times):
                    await get()

            await asyncio.gather(*(worker(max(1, 20 // at_a_time)) for _ in range(at_a_time)))
            begin = clock()
            await asyncio.gather(*(worker(each) for _ in range(at_a_time)))
            return (clock() - begin) / (each * at_a_time)

    return asyncio.run(measure())


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
        found = contestants(url)
        for at_a_time in (1, MANY):
            print(f"\nCPU per request, {at_a_time} at a time ({ROUNDS} rounds of {REQUESTS})")
            results = interleaved(
                {name: lambda o=opened, n=at_a_time: cost(o, n, REQUESTS) for name, opened in found.items()}
            )
            table(results, "aiohttp + orjson", unit="us", scale=1e6)
            for peer in ("openai", "httpx"):
                if peer in results:
                    pairs = zip(results["lume_async.run_status"], results[peer], strict=True)
                    print(f"lume_async / {peer}: {statistics.median(a / b for a, b in pairs):.2f}")
        print(f"\nRequests per second, {MANY} at a time")
        results = interleaved(
            {
                name: lambda o=opened, n=name: (
                    1 / cost(o, MANY, 6_000 if n[-1] != "x" else 640, time.perf_counter)
                )
                for name, opened in found.items()
            }
        )
        table(results, "aiohttp + orjson", unit="1/s")
    print("\nDecoding")
    decoding()


if __name__ == "__main__":
    main()
