"""What an upload costs: time, processor time, bytes that were sent and memory, on a good connection and a bad one.

    python -m server.benchmarks.uploads                    2 GB, whole and cut every 50 MB
    python -m server.benchmarks.uploads --megabytes 200 --cut 5

The server is a process of its own. The relay that cuts the connections runs in that of the client: its memory counts.
"""

import argparse
import asyncio
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from faults.cutting import Cutter

from benchmarks._bench import header
from lume_async import Backoff, Client, Retry

MB = 1_000_000
SERVER = """
import asyncio, sys, lume_local

async def main():
    async with lume_local.serve(None, sys.argv[1], max_active=1) as server:
        print(server.base_url, server.api_key, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
ATTEMPTS = Retry(attempts=3, backoff=Backoff(0.01, maximum=0.1))


def peak(pid: int) -> float:
    """The most memory that a process has had, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def processor_time(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make(path: Path, size: int) -> str:
    """A file of random bytes; its SHA-256."""
    digest, block = hashlib.sha256(), os.urandom(MB)
    with path.open("wb") as file:
        for number in range(size // MB):
            piece = number.to_bytes(8) + block[8:]
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


async def measure(file: Path, sha256: str, data: Path, most: int | None) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, data], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url, key = server.stdout.readline().split()
            own, its = time.process_time(), processor_time(server.pid)
            began = time.perf_counter()
            async with (
                Cutter(url, lambda number: most) as cutter,
                Client(key, base_url=cutter.here, proxy=False, retry=ATTEMPTS) as client,
            ):
                source = await client.upload(file)
            took = time.perf_counter() - began
            own, its = time.process_time() - own, processor_time(server.pid) - its
            server_peak = peak(server.pid)
        finally:
            server.kill()
    stored = data / "uploads" / source.removeprefix("upload://")
    with stored.open("rb") as opened:
        assert hashlib.file_digest(opened, "sha256").hexdigest() == sha256
    assert os.listdir(stored.parent) == [stored.name], "it is there once, and whole"
    stored.unlink()
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    name = "whole" if most is None else f"cut every {most / MB:.0f} MB"
    print(
        f"{name:20} {took:8.1f} {own:10.1f} {its:10.1f} {cutter.connections:12} "
        f"{cutter.passed / MB:10.0f} {own_peak:10.0f} {server_peak:10.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=2_000)
    parser.add_argument("--cut", type=int, default=50)
    options = parser.parse_args()
    header("lume-client", "aiohttp")
    print(
        f"\n{options.megabytes:,} MB             s   client's s  server's s  connections    MB sent   "
        "client MB  server MB"
    )
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        file = Path(folder) / "data.bin"
        sha256 = make(file, options.megabytes * MB)
        for n, most in enumerate((None, options.cut * MB)):
            asyncio.run(measure(file, sha256, Path(folder) / str(n), most))


if __name__ == "__main__":
    main()
