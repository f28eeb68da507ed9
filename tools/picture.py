"""Make docs/img/watch.svg: `lume watch` in a terminal, over real runs of the embedded server.

    python tools/picture.py      # needs tmux

Runs change their status in real time, so no two pictures are equal.
"""

import io
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

import lume_local
import lume_sync as lume

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "img" / "watch.svg"
FLOW = "customer_cleaner:v1"
SIZES = (150, 200, 120, 0, 250, 100, 300, 180)
"""How often each source repeats the sample; 0: the file is missing."""
COLUMNS, ROWS, LIMIT = 92, 24, 60.0


def sources(folder: Path) -> list[str]:
    """Write batches of customers, each with its own IDs; one batch is missing."""
    head, *rows = (ROOT / "examples" / "data" / "customers.csv").read_text().splitlines()
    rests = [row.partition(",")[2] for row in rows]
    names = [f"customers-{number:02}.csv" for number in range(1, len(SIZES) + 1)]
    for name, times in zip(names, SIZES, strict=True):
        if times:
            ids = itertools.count(1)
            lines = (f"{next(ids)},{rest}" for _ in range(times) for rest in rests)
            (folder / name).write_text("\n".join([head, *lines]))
    return names


def shown_by(command: str, env: dict[str, str]) -> str:
    """Return a terminal's content, with colors, when half of the runs have ended."""
    tmux = ["tmux", "-L", f"picture-{os.getpid()}"]
    settings = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
    size = ["-x", str(COLUMNS), "-y", str(ROWS)]
    subprocess.run([*tmux, "-f", "/dev/null", "new-session", "-d", *size, *settings, command], check=True)
    try:
        deadline, shown = time.monotonic() + LIMIT, ""
        while time.monotonic() < deadline:
            shown = subprocess.check_output([*tmux, "capture-pane", "-e", "-p"], text=True)
            if shown.count("PARTIAL_FAILED") > 3 and "TRANSFORMING" in shown:
                return shown.rstrip()
            time.sleep(0.02)
        raise TimeoutError(f"nothing to take a picture of:\n{shown}")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        flows = ROOT / "examples" / "flows"
        with lume_local.serve_in_thread(flows=flows, roots=[folder], data=Path(folder, ".lume")) as server:
            client = lume.Client(server.api_key, base_url=server.base_url)
            runs = [client.run(FLOW, source) for source in sources(Path(folder))]
            command = [sys.executable, "-m", "lume_cli", "watch", *(run.id for run in runs)]
            env = {"LUME_BASE_URL": server.base_url, "LUME_API_KEY": server.api_key, "TERM": "xterm-256color"}
            screen = shown_by(shlex.join(command), env)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen))
    drawn = console.export_svg(title="lume list -o ids | lume watch -")
    # The picture must not load a font from another site.
    PICTURE.write_text(re.sub(r"\s*@font-face \{.*?\}", "", drawn, flags=re.DOTALL))


if __name__ == "__main__":
    main()
