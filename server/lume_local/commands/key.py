"""`lume key`: keys for a server, each with a role, in the file that `lume serve --keys` reads."""

import hashlib
import re
import secrets
import tomllib
from pathlib import Path

import click

from lume_cli._options import GlobalOptions, file_name, output_options
from lume_cli._server_file import replace
from lume_cli._session import CommandSession

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN = "server"


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
    session, file = CommandSession(options), Path(path)
    if not _NAME.fullmatch(name):
        raise click.UsageError(f"NAME {name!r}: use 1 to 64 letters, digits, '-' and '_'")
    if name == _OWN:
        raise click.UsageError(f"NAME {name!r} is what the server's own key is called: choose another name")
    try:
        text = file.read_text("utf-8") if file.exists() else ""
        if name in tomllib.loads(text):
            raise click.UsageError(
                f"{path} already has a key {name!r}: choose another name, or remove it first"
            )
        key = secrets.token_urlsafe(32)
        entry = f'[{name}]\nrole = "{role}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        session.data.one(key, {"name": name, "role": role, "key": key})
        # Only now: a key that could not be shown is not in the file.
        replace(file, f"{text.rstrip()}\n\n{entry}".lstrip())
    except OSError as error:
        raise click.ClickException(f"{path} can't be changed: {error.strerror or error}") from None
    except ValueError as error:
        raise click.UsageError(f"{path} is not valid TOML: {error}") from None
