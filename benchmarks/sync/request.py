"""What does one `lume_sync.run_status` cost, beside the same GET by other synchronous clients? Against nginx.

    ROUNDS=15 python -m benchmarks.sync.request [--uvloop]

Prints the wall time of one call at a time, and calls per second of CPU from 64 threads. The client runs on one core,
nginx on another. Without --uvloop the private loop is asyncio's own even where the extra `speed` is installed. Peers
that are not installed are skipped: pip install requests openai boto3 databricks-sdk.
"""

import logging
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial

from benchmarks._bench import header, interleaved, table
from benchmarks.request import KEY, MANY, RUN, nginx

if "--uvloop" not in sys.argv:
    sys.modules["uvloop"] = None  # type: ignore[assignment]

import orjson

import lume_sync

CALLS = 400
OURS = "lume_sync.run_status"
TARGETS = {"requests": 0.60, "databricks-sdk": 0.55, "boto3": 0.55, "openai": 0.55}
TIMES_REQUESTS = 3.5
"""How many times the calls per second of CPU of requests, from 64 threads."""


def contestants(url: str) -> dict[str, Callable[[], object]]:
    """Name, and one call of each."""
    path = f"{url}/v1/runs/{RUN}"
    ours = lume_sync.Client("key", base_url=url, proxy=False, max_connections=MANY)
    found: dict[str, Callable[[], object]] = {OURS: lambda: ours.run_status(RUN)}
    peers = {"requests": by_requests, "openai": by_openai, "boto3": by_boto3, "databricks-sdk": by_databricks}
    for name, open_peer in peers.items():
        try:
            found[name] = open_peer(url, path)
        except ImportError:
            print(f"{name} is not installed: skipped")
    return found


def by_requests(url: str, path: str) -> Callable[[], object]:
    import requests

    session = requests.Session()
    session.trust_env = False  # else it reads the environment and ~/.netrc at each call
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=MANY))
    return lambda: orjson.loads(session.get(path, headers=KEY, timeout=60).content)


def by_openai(url: str, path: str) -> Callable[[], object]:
    import openai

    client = openai.OpenAI(api_key="key", base_url=f"{url}/v1")
    return lambda: client.get(f"/runs/{RUN}", cast_to=object)


def by_boto3(url: str, path: str) -> Callable[[], object]:
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=MANY),
    )
    return lambda: orjson.loads(client.get_object(Bucket="v1", Key=f"runs/{RUN}")["Body"].read())


def by_databricks(url: str, path: str) -> Callable[[], object]:
    from databricks.sdk.core import ApiClient, Config

    client = ApiClient(
        Config(host=url, token="key", max_connection_pools=MANY, max_connections_per_pool=MANY)
    )
    return lambda: client.do("GET", f"/v1/runs/{RUN}")


def p50(call: Callable[[], object]) -> float:
    """Seconds of the median call."""
    times = []
    for _ in range(CALLS):
        before = time.perf_counter()
        call()
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def per_second(call: Callable[[], object]) -> float:
    """Calls per second of this process's CPU from 64 threads: a busy machine slows nginx, and so the fastest most."""
    start = threading.Barrier(MANY + 1)

    def work() -> None:
        start.wait()
        for _ in range(CALLS // 10):
            call()

    threads = [threading.Thread(target=work) for _ in range(MANY)]
    for thread in threads:
        thread.start()
    start.wait()
    begun = time.process_time()
    for thread in threads:
        thread.join()
    return MANY * (CALLS // 10) / (time.process_time() - begun)


def ratio(results: dict[str, list[float]], one: str, other: str) -> float:
    return statistics.median(mine / its for mine, its in zip(results[one], results[other], strict=True))


def main() -> int:
    header("aiohttp", *["uvloop"][: "--uvloop" in sys.argv], "requests", "openai", "boto3", "databricks-sdk")
    logging.disable(logging.WARNING)  # databricks-sdk asks for its metadata, and misses it
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    missed = False

    def verdict(words: str, found: float, met: bool, target: float) -> None:
        nonlocal missed
        missed |= not met
        print(f"{words}: {found:.2f} (target {target}: {'met' if met else 'MISSED'})")

    with nginx() as url:  # it stays on all cores; the client leaves it one
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[-1]})
        calls = contestants(url)
        for call in calls.values():
            call()
        print("\nOne at a time")
        results = interleaved({name: partial(p50, call) for name, call in calls.items()})
        table(results, OURS, unit="us", scale=1e6)
        for peer, target in TARGETS.items():
            if peer in results:
                found = ratio(results, OURS, peer)
                verdict(f"{OURS} / {peer}", found, found <= target, target)
        print(f"\nCalls per second of CPU, {MANY} threads")
        results = interleaved({name: partial(per_second, call) for name, call in calls.items()})
        table(results, OURS, unit="1/s")
        if "requests" in results:
            found = ratio(results, OURS, "requests")
            verdict(f"{OURS} / requests", found, found >= TIMES_REQUESTS, TIMES_REQUESTS)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
