"""What does a read cost the server, beside a bare aiohttp handler that returns the same bytes?

    python -m server.benchmarks.requests [CHECKOUT …]        beside other checkouts, such as one of an older commit

Each checkout serves a folder of 40 runs of 100 rows, and a bare handler in a process of its own serves each of its
answers again. One client asks all in turns, one request at a time on a plain socket. Prints the processor time of the
server's process per request, from the scheduler's account: the least, and medians of the ratios within turns.
"""

import argparse
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks._bench import header, interleaved
from benchmarks.compare import FLOW, environment, serving

THIS = Path(__file__).parents[2]
RUNS, TURN, ROUNDS = 40, 300, int(os.environ.get("ROUNDS", "15"))
SUBMIT = """
import asyncio, sys
from lume_async import Client

async def main():
    async with Client(sys.argv[2], base_url=sys.argv[1], proxy=False) as client:
        for n in range(int(sys.argv[3])):
            run = await (await client.run("people:v1", f"{n}.csv")).wait(poll_interval=0.05)
        print(run.id)

asyncio.run(main())
"""
BARE = """
import asyncio, json, sys
from aiohttp import web

answers = {path: (headers, body.encode()) for path, (headers, body) in json.load(sys.stdin).items()}

async def handle(request):
    headers, body = answers[request.path]
    return web.Response(body=body, headers=headers)

async def main():
    app = web.Application()
    for path in ("/v1/runs/{run_id}", "/v1/runs", "/v1/changes"):
        app.router.add_get(path, handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
Headers = list[list[str]]


class Asker:
    """Sends one request again and again on one connection."""

    def __init__(self, url: str, key: str, path: str) -> None:
        host, _, port = url.rpartition("/")[2].partition(":")
        self._socket = socket.create_connection((host, int(port)))
        head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nlume-api-key: {key}\r\nAccept: */*\r\n"
        self._request = f"{head}Accept-Encoding: gzip, deflate\r\nUser-Agent: benchmark\r\n\r\n".encode()

    def get(self) -> tuple[Headers, bytes]:
        """Return the headers and the body of the answer."""
        self._socket.sendall(self._request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._socket.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        assert status.startswith("HTTP/1.1 200"), (status, body)
        headers = [line.split(": ", 1) for line in lines]
        size = next(int(value) for name, value in headers if name == "Content-Length")
        while len(body) < size:
            body += self._socket.recv(65536)
        return headers, body


def cpu(pid: int) -> float:
    """Return the seconds of processor time of a process, all threads."""
    accounts = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in accounts) / 1e9


@contextlib.contextmanager
def bare(answers: dict[str, tuple[Headers, str]]) -> Iterator[tuple[str, int]]:
    """Run the bare handler; yield its URL and process."""
    command = [sys.executable, "-c", BARE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(answers).encode())
        process.stdin.close()
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
        finally:
            process.terminate()


@contextlib.contextmanager
def prepared(checkout: Path) -> Iterator[tuple[str, str, int, dict[str, str]]]:
    """Run a server with ended runs; yield its URL, key and process, and the path of each request."""
    with tempfile.TemporaryDirectory(prefix="lume-requests-") as name:
        folder = Path(name)
        (folder / "flows").mkdir()
        (folder / "flows/people.v1.toml").write_text(FLOW)
        rows = "".join(f"{n},a{n}@example.org,{n * 37 % 911}.5\n" for n in range(100))
        for source in range(RUNS):
            (folder / f"{source}.csv").write_text(f"id,email,amount\n{rows}")
        with serving(checkout, folder, {}) as (url, key, pid):
            command = [sys.executable, "-c", SUBMIT, url, key, str(RUNS)]
            run_id = subprocess.check_output(
                command, cwd=folder, env=environment(checkout), text=True
            ).strip()
            _, page = Asker(url, key, "/v1/changes").get()
            paths = {
                "GET a run": f"/v1/runs/{run_id}",
                "changes, none": f"/v1/changes?after={json.loads(page)['next_cursor']}",
                "list of 20 runs": "/v1/runs?limit=20",
            }
            yield url, key, pid, paths


def measure(checkouts: dict[str, Path]) -> None:
    with contextlib.ExitStack() as stack:
        found: dict[str, dict[str, tuple[Asker, int]]] = defaultdict(dict)
        for label, checkout in checkouts.items():
            url, key, pid, paths = stack.enter_context(prepared(checkout))
            answers: dict[str, tuple[Headers, str]] = {}
            for name, path in paths.items():
                asker = Asker(url, key, path)
                found[name][label] = asker, pid
                headers, body = asker.get()
                others = [one for one in headers if one[0] not in ("Content-Length", "Date")]
                answers[path.partition("?")[0]] = others, body.decode()
            bare_url, bare_pid = stack.enter_context(bare(answers))
            for name, path in paths.items():
                found[name][f"bare {label}"] = Asker(bare_url, key, path), bare_pid
        for name, contestants in found.items():
            report(name, list(checkouts), contestants)


def report(name: str, labels: list[str], contestants: dict[str, tuple[Asker, int]]) -> None:
    def turn(asker: Asker, pid: int) -> float:
        before = cpu(pid)
        for _ in range(TURN):
            asker.get()
        return (cpu(pid) - before) / TURN * 1e6

    for one in contestants.values():
        turn(*one)
    took = interleaved({label: lambda c=c: turn(*c) for label, c in contestants.items()}, ROUNDS)
    print(f"\n{name:24} {'us, least':>10} {'bare':>8} {'x bare':>8} {'x ' + labels[0]:>16}")
    for label in labels:
        others = f"bare {label}", labels[0]
        ratios = [
            statistics.median(mine / its for mine, its in zip(took[label], took[other], strict=True))
            for other in others
        ]
        least = min(took[label]), min(took[others[0]])
        print(f"{label:24} {least[0]:10.1f} {least[1]:8.1f} {ratios[0]:8.2f} {ratios[1]:16.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("others", type=Path, nargs="*", metavar="CHECKOUT")
    given = parser.parse_args()
    header("aiohttp")
    measure({one.name: one.resolve() for one in given.others} | {"this": THIS})


if __name__ == "__main__":
    main()
