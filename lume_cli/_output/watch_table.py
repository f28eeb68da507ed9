"""The live table of `lume watch`: a row per run, active ones first, and a line that counts them."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lume_async import LumeRun
from lume_async._base.words import counted
from lume_cli._output import run_view
from lume_cli._output.rich_console import cell
from lume_cli._output.text import clock, shorts

_AROUND = 4
"""Terminal lines that are not table rows."""
_BAR, _NARROW_BAR = 10, 5


def visible_runs(runs: Mapping[str, LumeRun | None], height: int) -> list[str]:
    """Return the ids of as many runs as fit on the terminal, active ones first."""
    first = sorted(runs, key=lambda one: (run := runs[one]) is not None and run.is_terminal)
    return first[: max(height - _AROUND, 1)]


def table(
    runs: Mapping[str, LumeRun | None], size: tuple[int, int], now: datetime, passed: float
) -> RenderableType:
    """Return the table and the line below it. `size` is the terminal's; `passed` is in seconds since the start."""
    ids, (width, height) = shorts(runs), size
    bar = _BAR if width >= 80 else _NARROW_BAR
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("RUN", "STATUS"):
        shown.add_column(header, overflow="ellipsis", no_wrap=True, min_width=6)
    for header in ("ROWS", "REJECTS", "ELAPSED"):
        shown.add_column(header, no_wrap=True, justify="right", min_width=len(header))
    shown.add_column("", no_wrap=True, width=bar)
    shown.add_column("SOURCE", overflow="ellipsis", no_wrap=True, min_width=6)
    for run_id in visible_runs(runs, height):
        if (run := runs[run_id]) is None:
            shown.add_row(cell(ids[run_id]), cell("…"))
            continue
        done = 1.0 if run.is_terminal else run.progress or 0.0
        rows, rejects = run_view.counts(run)
        texts = ids[run_id], str(run.status or "…"), rows, rejects, clock(run_view.elapsed(run, now))
        shown.add_row(
            *map(cell, texts), ProgressBar(total=1.0, completed=done, width=bar), cell(run_view.source(run))
        )
    statuses = Counter("…" if run is None else str(run.status) for run in runs.values())
    ended = sum(run is not None and run.is_terminal for run in runs.values())
    text = f"{ended:,} of {counted(len(runs), 'run')} finished{run_view.status_counts(statuses)}  {clock(passed)}"
    return Group(shown, Text(text, no_wrap=True, overflow="ellipsis"))
