"""The server that counts: an embedded Lume server with files to clean, and what it says of its runs."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lume_local
from lume_local._runs import execution
from real_airflow.deployment import ROOT, until

HEADER = "Customer ID,Name,Email,Signup,Country,Balance\n"


class Judge:
    """The server, its files, and the count of runs per source."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def file(self, name: str, rows: int = 5, bad: int = 0) -> str:
        """A file of good rows, and of others without an address."""
        path = self.folder / f"{name}.csv"
        lines = [f"{n},Ann,ann{n}@example.com,2024-01-02,US,1.00\n" for n in range(rows)]
        lines += [f"{rows + n},Bob,no address,2024-01-02,US,1.00\n" for n in range(bad)]
        path.write_text(HEADER + "".join(lines))
        return str(path)

    def files(self, name: str, count: int) -> list[str]:
        """Several of them."""
        return [self.file(f"{name}-{n}") for n in range(count)]

    def submit(self, source: str) -> str:
        """A run of somebody else; its id."""
        with self.server.client() as client:
            return str(client.run("customer_cleaner:v1", source).id)

    def runs(self) -> list[Any]:
        """Every run that the server knows."""
        with self.server.client() as client:
            return list(client.list_runs())

    def counts(self, sources: list[str]) -> Counter[str]:
        """How many runs each of these sources has."""
        wanted = set(sources)
        found = Counter(run.source_path for run in self.runs() if run.source_path in wanted)
        return Counter({source: found[source] for source in sources})

    def statuses(self, source: str) -> list[str]:
        """The statuses of a source's runs, the oldest first."""
        return [str(run.status) for run in reversed(self.runs()) if run.source_path == source]

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block lasts, no run ends: the workers of the server are stopped."""
        stopped: set[int] = set()
        import threading

        over = threading.Event()

        def stop() -> None:
            while not over.wait(0.01):
                for process in self.server.workers().values():
                    if process not in stopped:
                        with suppress(ProcessLookupError):
                            os.kill(process, signal.SIGSTOP)
                        stopped.add(process)

        thread = threading.Thread(target=stop)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            for process in stopped:
                with suppress(ProcessLookupError):
                    os.kill(process, signal.SIGCONT)

    def until_submitted(self, source: str, runs: int = 1) -> None:
        """Wait for the runs of a source."""
        until(f"{runs} runs of {source}", lambda: len(self.statuses(source)) >= runs)


@contextmanager
def judge(home: Path) -> Iterator[Judge]:
    """A running one, which waits for workers that are `held` while Airflow restarts a process."""
    execution.SILENCE = 600.0
    folder = home / "files"
    folder.mkdir(parents=True)
    flows = ROOT / "examples" / "flows"
    with lume_local.serve_in_thread(flows=flows, data=home / "lume", roots=[home]) as server:
        yield Judge(server, folder)
