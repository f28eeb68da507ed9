"""The file of keys that `lume serve --keys` reads. The work of `key new`."""

import hashlib
import os
import re
import secrets
import tomllib
from pathlib import Path

import click

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def add_key(path: Path, name: str, role: str) -> str:
    """Add a new key to the file; return the key.

    Raises:
        click.UsageError: the name is invalid or taken, or the file is not TOML.
        click.ClickException: the file can't be read or written.
    """
    if not _NAME.fullmatch(name):
        raise click.UsageError(f"NAME {name!r}: use 1 to 64 letters, digits, '-' and '_'")
    try:
        text = path.read_text("utf-8") if path.exists() else ""
        if name in tomllib.loads(text):
            raise click.UsageError(
                f"{path} already has a key {name!r}: choose another name, or remove it first"
            )
        key = secrets.token_urlsafe(32)
        entry = f'[{name}]\nrole = "{role}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\n'
        _replace(path, f"{text.rstrip()}\n\n{entry}".lstrip())
    except OSError as error:
        raise click.ClickException(f"{path} can't be changed: {error.strerror or error}") from None
    except ValueError as error:
        raise click.UsageError(f"{path} is not valid TOML: {error}") from None
    return key


def _replace(path: Path, text: str) -> None:
    """Replace the file atomically: a server that reads it meanwhile sees the old or the new one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.draft")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
