"""One file per command, imported when it is invoked; what it depends on is imported when it runs."""

from pathlib import Path

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""An argument that names a file which is there."""
FOLDER = click.Path(exists=True, file_okay=False)
"""One that names a folder which is there."""
