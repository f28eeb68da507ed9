"""Rich's progress display, which reads its values each time it draws."""

from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from lume_cli._output.text import visible

_NARROW, _WIDE = 60, 100


class ProgressLine(Progress):
    """One task, drawn on one line that is removed at the end."""

    def __init__(
        self,
        console: Console,
        standing: Callable[[], tuple[str, float, float | None]],
        *,
        per_second: float,
        eta: bool,
    ) -> None:
        self._screen, self._standing = console, standing
        columns: list[ProgressColumn] = [
            SpinnerColumn(
                "dots" if console.encoding.startswith("utf") and not console.legacy_windows else "line"
            ),
            TimeElapsedColumn(),
        ]
        if console.width >= _NARROW:
            columns.append(BarColumn(20 if console.width >= _WIDE else 10))
        cut_off = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        columns.append(TextColumn("{task.description}", markup=False, table_column=cut_off))
        if eta and console.width >= _NARROW:
            columns.append(_Eta(compact=True))
        super().__init__(
            *columns,
            console=console,
            transient=True,
            refresh_per_second=per_second,
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )
        self.add_task("", total=None)

    def get_renderables(self) -> Iterable[RenderableType]:
        text, done, total = self._standing()
        for task in self.task_ids:  # empty while the base class is being initialised
            self.update(task, total=total, completed=done, description=visible(text))
        # Room for the ^C that a terminal echoes: past the last column it would begin another line.
        yield from (Constrain(each, max(self._screen.width - 4, 1)) for each in super().get_renderables())


class _Eta(TimeRemainingColumn):
    """`ETA 00:42`; empty while it can't be estimated."""

    def render(self, task: Task) -> Text:
        if task.time_remaining is None or task.finished:
            return Text()
        return Text.assemble("ETA ", super().render(task))
