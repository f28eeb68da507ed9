"""Render every page of site/ in chromium, at desktop and phone width, and fail if anything is cut off.

    ./scripts/docs && python tools/check_pages.py

No page, table or code block may scroll sideways, as its end would be out of sight. This script's own page loads each
page into a frame of that width and reports the measurements.
"""

import contextlib
import functools
import http.server
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SITE = Path(__file__).parents[1] / "site"
WIDTHS = {"desktop": 1280, "phone": 390}
LIMIT = 300.0
"""Seconds allowed for all pages."""
NAMES = ("chromium", "chromium-browser", "google-chrome")

SCRIPT = """<!doctype html><meta charset="utf-8"><script type="module">
const found = [];
async function measure(path, name, width) {
  const frame = document.createElement("iframe");
  frame.style.cssText = `width:${width}px;height:900px;border:0`;
  frame.src = path;
  const loaded = new Promise((resolve) => { frame.onload = resolve; });
  document.body.append(frame);
  await loaded;
  const page = frame.contentDocument;
  const wide = page.documentElement.scrollWidth - width;
  if (wide > 1) found.push([name, path, `the page is ${wide} px too wide`]);
  for (const box of page.querySelectorAll(".md-typeset__scrollwrap, article pre > code")) {
    const hidden = box.scrollWidth - box.clientWidth;
    const text = box.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
    if (hidden > 1) found.push([name, path, `${hidden} px out of sight: ${text}`]);
  }
  frame.remove();
}
for (const path of PAGES) for (const [name, width] of Object.entries(WIDTHS)) await measure(path, name, width);
await fetch("/found", {method: "POST", body: JSON.stringify(found)});
</script><body></body>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the site and the measuring page, and receives its report."""

    reports: queue.SimpleQueue[list[list[str]]] = queue.SimpleQueue()

    def do_GET(self) -> None:
        """Serve the measuring page, or a file of the site."""
        if self.path != "/measure":
            super().do_GET()
            return
        body = SCRIPT.replace("PAGES", json.dumps(pages())).replace("WIDTHS", json.dumps(WIDTHS)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        """Receive the measurements."""
        report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        Handler.reports.put(report)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file; ignore a frame that was closed before it was loaded completely."""
        with contextlib.suppress(ConnectionError):
            super().copyfile(source, outputfile)


def pages() -> list[str]:
    """Return the path of each page below site/."""
    return sorted(f"/{page.parent.relative_to(SITE).as_posix()}/".replace("/./", "/") for page in _pages())


def _pages() -> Iterator[Path]:
    return SITE.rglob("index.html")


def main() -> int:
    """Print everything that is too wide; return 1 if anything is."""
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        print("skipped: chromium is not installed: ./scripts/components", file=sys.stderr)
        return 0
    if not pages():
        print("there is no site: build it with ./scripts/docs", file=sys.stderr)
        return 1
    handler = functools.partial(Handler, directory=str(SITE))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        address = f"http://127.0.0.1:{server.server_port}/measure"
        with subprocess.Popen([*command, address], stderr=subprocess.DEVNULL) as process:
            try:
                found = Handler.reports.get(timeout=LIMIT)
            except queue.Empty:
                print(f"chromium reported nothing within {LIMIT:g} s", file=sys.stderr)
                return 1
            finally:
                process.terminate()
                server.shutdown()
    for name, path, problem in found:
        print(f"{name:8} {path:45} {problem}")
    print(f"{len(pages())} pages, {len(found)} cuts", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
