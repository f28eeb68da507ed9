"""The command `lume`: run, watch and backfill Lume runs from a shell; a thin layer over `lume_async`.

Nothing heavy is imported here or by `lume --help`: each command imports what it needs when it runs.
"""

import sys
from importlib.util import find_spec

from lume_cli._streams import prepare

__all__ = ["main"]


def main() -> None:
    """Entry point of the command `lume`."""
    prepare()
    missing = [name for name in ("click", "rich", "simplejson") if find_spec(name) is None]
    if missing:
        from lume_async._base.extras import install_command

        print(f"lume: the command needs {' and '.join(missing)}: {install_command('cli')}", file=sys.stderr)
        sys.exit(1)
    from lume_cli._app import app, end_on_sigterm

    end_on_sigterm()
    app.main(prog_name="lume")
