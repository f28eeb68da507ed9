"""`lume backup` and `lume restore`: save the data folder of a server, and create a new one from a backup."""

import click

import lume_local
from lume_async._base.words import counted
from lume_cli._options import GlobalOptions, output_options
from lume_cli._session import CommandSession
from lume_cli.commands import FOLDER


@click.command("backup")
@click.argument("folder", metavar="DIR")
@click.option(
    "--data",
    type=FOLDER,
    default=".lume",
    show_default=True,
    metavar="DIR",
    help="Data folder of the server to back up.",
)
@click.option(
    "--state", type=FOLDER, metavar="DIR", help="Folder of the state, if the server has one (--state)."
)
@click.option(
    "--outputs", is_flag=True, help="Also copy the files that runs have written below the data folder."
)
@output_options
@click.pass_obj
def command(options: GlobalOptions, *, folder: str, data: str, state: str | None, outputs: bool) -> None:
    """Back up the state and the uploads of a server to DIR, a new folder. The server may be running.

    The server's own key is left out, and no other key is in DIR. Outputs in other folders, databases and object
    stores are not copied, nor are flow files and the file of keys.

    \b
    lume backup /backup/lume-2026-11-28 --outputs
    """
    session = CommandSession(options)
    made = lume_local.back_up(data, folder, outputs=outputs, state=state)
    what = [counted(made.runs, "run"), counted(made.uploads, "upload")]
    if made.outputs is not None:
        what.append(counted(made.outputs, "output file"))
    session.say.note(
        f"lume: {', '.join(what)}. The server's own key is not included: after a restore, the server generates "
        "another"
    )
    session.data.one(folder, made)


@click.command("restore")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--data", required=True, metavar="NEW", help="New data folder: missing or empty.")
@output_options
@click.pass_obj
def restore(options: GlobalOptions, *, folder: str, data: str) -> None:
    """Make the backup in DIR the data folder of a new server. DIR stays as it is.

    Its files are compared with their checksums first: if one was altered or is missing, nothing is restored.

    Everything after the backup is lost: sources processed later count as new. Never restore beside a server that
    still runs on the earlier data folder: both would process the same sources.

    \b
    lume restore /backup/lume-2026-11-28 --data .lume
    """
    session = CommandSession(options)
    made = lume_local.restore(folder, data)
    session.say.note(
        f"lume: the state of {made.made_at}: {counted(made.runs, 'run')}; the next server executes "
        f"{made.waiting:,} that had not begun"
    )
    if made.active:
        session.say.warn(
            f"active at that time: {counted(made.active, 'run')}, which the next server ends as CRASHED. The earlier "
            "one may have completed them since, so look at their outputs before you submit them again"
        )
    session.data.one(data, made)
