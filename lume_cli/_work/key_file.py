"""The file of keys that `lume serve --keys` reads. The work of `key new`."""

import hashlib
import re
import secrets
import tomllib
from collections.abc import Callable
from pathlib import Path

import click

from lume_cli._server_file import replace

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN = "server"


def add_key(path: Path, name: str, role: str, show: Callable[[str], None]) -> None:
    """Show a new key, then add it to the file: a key that could not be shown is not in it.

    Raises `click.ClickException`, which says what is wrong.
    """
    if not _NAME.fullmatch(name):
        raise click.UsageError(f"NAME {name!r}: use 1 to 64 letters, digits, '-' and '_'")
    if name == _OWN:
        raise click.UsageError(f"NAME {name!r} is what the server's own key is called: choose another name")
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        if name in tomllib.loads(text):
            raise click.UsageError(
                f"{path} already has a key {name!r}: choose another name, or remove it first"
            )
        key = secrets.token_urlsafe(32)
        entry = f'[{name}]\nrole = "{role}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        show(key)
        replace(path, f"{text.rstrip()}\n\n{entry}".lstrip())
    except OSError as error:
        raise click.ClickException(f"{path} can't be changed: {error.strerror or error}") from None
    except ValueError as error:
        raise click.UsageError(f"{path} is not valid TOML: {error}") from None
