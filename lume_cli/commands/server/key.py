"""`lume key`: keys for a server, each with a role."""

import click

from lume_cli._options import GlobalOptions, file_name, output_options


@click.group("key")
def command() -> None:
    """Create keys for your server."""


@command.command("new", short_help="Create a key with a role.")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["read", "submit", "admin"]),
    required=True,
    help="What it may do: read; also submit, cancel and upload; also register flow versions.",
)
@click.option(
    "--keys",
    "path",
    type=click.Path(dir_okay=False),
    callback=file_name,
    default="keys.toml",
    show_default=True,
    metavar="FILE",
    help="File that `lume serve --keys` reads; created if missing.",
)
@output_options
@click.pass_obj
def new(options: GlobalOptions, *, name: str, role: str, path: str) -> None:
    """Create a key, add its digest to FILE under NAME, and print the key, which is not stored.

    A running server accepts it at once. To revoke a key, remove its lines from FILE.

    \b
    lume key new ci --role submit
    lume serve --keys keys.toml
    """
    from pathlib import Path

    from lume_cli._session import CommandSession
    from lume_cli._work.key_file import add_key

    session = CommandSession(options)

    def show(key: str) -> None:
        session.data.one(key, {"name": name, "role": role, "key": key})

    add_key(Path(path), name, role, show)
