"""A server for the browser tests, and requests to it. No client of ours: it would block the browser's event loop."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.flows import NOTES, PEOPLE, SLOW, slow_rows

import lume_local

GOOD = "id,Email,Age\n1,ann@example.org,31\n2,bob@example.org,40\n"
MIXED = "id,Email,Age\n1,a@b.org,5\nx,y,6\n3,c@d.org,200\n"


class Site:
    """A running server with the folder that it serves."""

    def __init__(self, server: lume_local.ThreadedServer, home: Path) -> None:
        self.server, self.home = server, home
        self.url = server.base_url

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The JSON of a successful answer."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"lume-api-key": self.server.api_key, "Content-Type": "application/json", **headers},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def write(self, name: str, text: str) -> str:
        """A source file; its path for runs."""
        (self.home / name).write_text(text)
        return name

    def submit(self, flow: str, source: str, **fields: Any) -> str:
        """A new run; its id."""
        return str(
            self.ask("POST", "/v1/runs", {"flow_version": flow, "source_path": source, **fields})["id"]
        )

    def run(self, flow: str, source: str, **fields: Any) -> str:
        """A new run, once it has ended; its id."""
        run_id = self.submit(flow, source, **fields)
        self.ended(run_id)
        return run_id

    def ended(self, run_id: str) -> dict[str, Any]:
        """A run, once it has ended."""
        return self.until(run_id, lambda run: run["finished_at"] is not None)

    def until(self, run_id: str, holds: Any) -> dict[str, Any]:
        """A run, once something holds for it."""
        while not holds(run := self.ask("GET", f"/v1/runs/{run_id}", Prefer="wait=1")):
            pass
        return dict(run)


@contextmanager
def running(home: Path, flows: dict[str, str], **options: Any) -> Iterator[Site]:
    """A server on a folder with these flow files."""
    folder = home / "flows"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in flows.items():
        (folder / f"{name}.toml").write_text(text)
    with lume_local.serve_in_thread(folder, home / ".lume", [home], **options) as server:
        yield Site(server, home)


def usual(home: Path) -> dict[str, str]:
    """The flows of most tests, and a source that keeps `slow` busy."""
    home.mkdir(exist_ok=True)
    (home / "slow.csv").write_text(slow_rows())
    return {"people.v1": PEOPLE, "notes.v1": NOTES, "slow.v1": SLOW}
