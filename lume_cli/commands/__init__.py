"""One file per command, imported when it is invoked; its dependencies are imported when it runs."""

from pathlib import Path

import click

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""An argument that names an existing file."""
FOLDER = click.Path(exists=True, file_okay=False)
"""An argument that names an existing folder."""
