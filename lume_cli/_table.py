"""Groups of commands that import the module of a command when it is invoked."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import click

PROGRAM = "lume"
"""The name of the outermost group."""
_SERVER, _GROUP = "lume_local", "lume.commands"
"""The package of the server, and the group of the entry points that name its commands."""


class CommandTable(click.Group):
    """A group of commands; printing its help imports none of them.

    Args:
        table: the place and the help line of each command, in help order. A place is a module, or `module:name`, of
            `lume_cli.commands`; it is empty for a command that comes with the server.
    """

    def __init__(
        self, name: str | None = None, table: Mapping[str, tuple[str, str]] | None = None, **settings: Any
    ) -> None:
        super().__init__(name, **settings)
        self._table = dict(table or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands that can be run here, in the order of the table."""
        has_server = find_spec(_SERVER) is not None
        return [name for name, (place, _line) in self._table.items() if place or has_server]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command. Raises `ModuleNotFoundError` if its server is not installed."""
        if cmd_name not in self._table:
            return None
        place, _line = self._table[cmd_name]
        if not place:
            path = cmd_name if self.name == PROGRAM else f"{self.name} {cmd_name}"
            from importlib.metadata import PackageNotFoundError, distribution

            from lume_async._base.extras import SERVER, install_command

            try:
                entry_points = distribution(SERVER).entry_points
            except PackageNotFoundError:
                raise ModuleNotFoundError(
                    f"`lume {path}` comes with the server: {install_command(name=SERVER)}", name=SERVER
                ) from None
            (found,) = entry_points.select(group=_GROUP, name=path.replace(" ", "."))
            loaded: click.Command = found.load()
            return loaded
        module, _, name = place.partition(":")
        command: click.Command = getattr(import_module(f"lume_cli.commands.{module}"), name or "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with a suggestion for a misspelled command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            if "Did you mean" not in error.message and near:
                raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", error.ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._table[name][1]) for name in self.list_commands(ctx)])
