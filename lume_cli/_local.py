"""The way to `lume_local`, which is an extra: a clear word where it is not installed."""

from importlib.util import find_spec

import click


def need_local() -> None:
    """Make sure that the embedded server can be used.

    Raises:
        click.ClickException: what it needs is not installed; says what to do.
    """
    if find_spec("duckdb") is None:
        raise click.ClickException("this command needs duckdb: pip install 'lume-client[local]'")
