"""`lume serve`: a Lume server on this machine."""

import gc
import os
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from lume_cli._options import FOREVER, F, GlobalOptions, Seconds, SecondsOrForever, Size, output_options
from lume_cli.commands import FILE

if TYPE_CHECKING:
    from lume_cli._session import CommandSession

# A parameter's name, but not a key of a file, such as a.max_active, nor a name in quotes.
_PARAMETER = re.compile(r"^[a-z]+(?=:| (?:needs|is|does)\b)|(?<![.'])\b[a-z]+(?:_[a-z]+)+\b")
_LEAST_KEY = 6
"""The minimum length of a key from the environment; anybody on this machine could guess a shorter one."""


def _size(name: str, *names: str, help: str) -> Callable[[F], F]:
    return click.option(name, *names, type=Size(), metavar="SIZE", help=help)


def _time(name: str, *, help: str) -> Callable[[F], F]:
    return click.option(name, type=SecondsOrForever(), metavar="TIME", help=help)


def _variable(name: str, *, help: str) -> Callable[[F], F]:
    return click.option(name, metavar="VARIABLE", help=help)


@click.command("serve")
@click.option("--flows", metavar="DIR", help="Folder with flow files (*.toml); default: flows.")
@click.option("--no-flows", is_flag=True, help="Start without flow files; versions are registered over HTTP.")
@click.option(
    "--dev", is_flag=True, help="For writing flows: versions may change with their files; each run notes it."
)
@click.option(
    "--data", default=".lume", show_default=True, metavar="DIR", help="Folder for state and output."
)
@click.option(
    "--state",
    metavar="DIR",
    help="Folder for the state: on a local disk or block storage; default: DATA/state.",
)
@click.option(
    "--work",
    metavar="DIR",
    help="Folder that the workers of a cluster share, for active runs, uploads and outputs; default: DATA.",
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="DIR",
    help="Folder, s3:// or sftp:// URL that may have sources; repeatable. Default: the current folder and DATA.",
)
@_variable(
    "--state-env",
    help="Environment variable with the URL of a PostgreSQL for the state, which several servers with one --data "
    "may share: one works, the others wait. Default: a file in DATA.",
)
@click.option(
    "--arrivals",
    type=FILE,
    metavar="FILE",
    help="File with folders and buckets to watch; new files are submitted. Read again when it changes.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Port to listen on; default: the port of the last start on this data folder, else a free one.",
)
@_variable("--key-env", help="Environment variable that holds the API key; default: a generated key.")
@click.option(
    "--keys",
    type=FILE,
    metavar="FILE",
    help="File with further keys, each with a role; `lume key new` writes it. Read again when it changes.",
)
@click.option(
    "--tls-cert",
    type=FILE,
    metavar="FILE",
    help="PEM certificate with its chain, for HTTPS; default: plain HTTP. Read again when it is renewed.",
)
@click.option("--tls-key", type=FILE, metavar="FILE", help="PEM private key of --tls-cert, unencrypted.")
@click.option(
    "--max-active",
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of concurrently executing runs; default: 2, or the slots of the cluster of --engine.",
)
@_size(
    "--max-upload", "max_upload_bytes", help="Maximum size of an upload: 500000, 100M, 2G …; default: 10G."
)
@_size("--uploads-quota", help="Maximum size of all uploads together; default: none.")
@_time("--keep-uploads", help="Retention of uploads: 12h, 90d …; default: forever.")
@_time(
    "--keep-output",
    help="Retention of the files that runs have written: 90d …; default: forever. Open rejected rows "
    "are lost with their rejects.",
)
@_time(
    "--keep",
    help="Retention of idempotency keys, the change feed and completed deliveries: 12h, 90d … or "
    "forever; default: 30d.",
)
@_time(
    "--keep-runs",
    help="Retention of runs: 90d …; default: forever. The last run with output of each source stays, in a "
    "compact form.",
)
@click.option(
    "--archive", metavar="DIR", help="Folder for Parquet files of the runs that --keep-runs removes."
)
@_time("--keep-audit", help="Retention of the audit: 400d …, at least 90d, or forever; default: 400d.")
@click.option(
    "--drain",
    type=Seconds(),
    default=60.0,
    metavar="TIME",
    help="How long active runs may take to end after Ctrl-C or SIGTERM: 90s, 10m …; default: 60s. Then they are "
    "stopped, and the next start executes them anew; with 0 they are CRASHED.",
)
@_time(
    "--run-timeout", help="Time limit of a run, which is FAILED after it: 90m, 12h … or forever; default: 1d."
)
@click.option(
    "--engine",
    metavar="URL",
    help="Spread runs over shards: pool (the cores of this machine), pool://4, or a cluster: dask://host:8786, "
    "spark://host:7077, sc://host:15002, ray://host:10001.",
)
@_variable("--engine-env", help="Environment variable with the URL for --engine, if it contains a token.")
@_size("--shard-bytes", help="Approximate size of a shard; default: 256M. A smaller source is one task.")
@click.option(
    "--webhook-secret-env",
    "webhook_variables",
    multiple=True,
    metavar="VARIABLE",
    help="Environment variable with the webhook signing secret; without it no webhook is sent. Repeat it during "
    "a rotation: X-Lume-Signature-256 is signed with the first.",
)
@click.option(
    "--webhook-host",
    "webhook_hosts",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Host that webhooks may be sent to; repeatable. This machine needs its port: 127.0.0.1:9000.",
)
@click.option(
    "--messages",
    type=FILE,
    metavar="FILE",
    help="File with [[message]] tables: which ends of runs are reported to whom; `lume message test` tries it. Read "
    "again when it changes.",
)
@click.option(
    "--public-url",
    metavar="URL",
    help="Address by which people open the console, for the links in messages; default: the server's own.",
)
@click.option(
    "--console-host",
    "console_hosts",
    multiple=True,
    metavar="NAME",
    help="Name by which browsers may open the console, such as that of a proxy in front; repeatable.",
)
@click.option(
    "--lineage-url",
    metavar="URL",
    help="Send OpenLineage events of all runs there, such as http://127.0.0.1:5000/api/v1/lineage.",
)
@_variable("--lineage-key-env", help="Environment variable with the key for --lineage-url.")
@click.option(
    "--lineage-namespace", metavar="NAME", help="Namespace of the jobs in OpenLineage events; default: lume."
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    help="Log every request and the end of every run to stderr; json: one object per line, nothing else, and no key.",
)
@output_options
@click.pass_obj
def command(options: GlobalOptions, /, *, key_env: str | None, log_format: Any, **settings: Any) -> None:
    """Run an embedded Lume server until Ctrl-C; print its URL, and how to use it on stderr.

    URL and key are kept in the data folder (state/server.json, readable by you only). With the default .lume,
    other commands find the server from the same folder and below it.

    \b
    lume serve --flows examples/flows --root examples/data --port 8080
    lume serve --webhook-secret-env LUME_WEBHOOK_SECRET      # `lume webhook listen` receives
    """
    gc.disable()  # collecting amid imports, which leave no garbage, takes a tenth of the time to the first request
    from lume_async import ConfigurationError
    from lume_cli._loop import Interrupted, run
    from lume_cli._session import CommandSession
    from lume_local.commands import serving

    gc.freeze()
    gc.enable()

    if log_format == "json":
        options.output = "json"  # also makes the command's own messages on stderr JSON
    session = CommandSession(options)
    wanted = _serve_arguments(**settings)
    _check_folders(session, wanted["flows"], wanted.get("roots", ()))
    if key_env is not None:
        wanted["api_key"] = _from_variable("--key-env", key_env)
        if len(wanted["api_key"]) < _LEAST_KEY:
            raise click.UsageError(f"--key-env: the key in {key_env} needs at least {_LEAST_KEY} characters")
    try:
        run(serving.until_stopped(session, serving.with_last_address(wanted), key_env, log_format))
    except ConfigurationError as error:
        raise ConfigurationError(_in_options(str(error))) from None
    except Interrupted:
        session.say.note("lume: stopped")  # a signal is the normal way to stop a server: exit code 0


def _in_options(text: str) -> str:
    """Return a message of `lume_local.serve`, with options in place of its parameters."""
    options = {str(one.name): one.opts[-1] for one in click.get_current_context().command.params}
    options["webhook_secret"] = options["webhook_variables"]
    text = _PARAMETER.sub(lambda found: options.get(found[0], found[0]), text)
    return text.replace("or None for ever", "or forever").replace("or None for no limit", "or forever")


def _serve_arguments(
    *,
    flows: str | None,
    no_flows: bool,
    webhook_variables: tuple[str, ...],
    lineage_key_env: str | None,
    engine_env: str | None,
    **options: Any,
) -> dict[str, Any]:
    """Return the arguments of `lume_local.serve`; missing ones have its defaults."""
    if no_flows and flows is not None:
        raise click.UsageError("--flows and --no-flows are mutually exclusive")
    if flows is not None and not os.path.exists(flows):
        raise click.UsageError(f"--flows {flows} does not exist: make it, or pass --no-flows")
    if options["webhook_hosts"] and not webhook_variables:
        raise click.UsageError(
            "--webhook-host needs --webhook-secret-env: without a secret no webhook is sent"
        )
    if engine_env is not None:
        if options["engine"] is not None:
            raise click.UsageError("--engine and --engine-env are mutually exclusive")
        options["engine"] = _from_variable("--engine-env", engine_env)
    if lineage_key_env is not None:
        options["lineage_key"] = _from_variable("--lineage-key-env", lineage_key_env)
    options["webhook_secret"] = tuple(
        os.fsencode(_from_variable("--webhook-secret-env", name)) for name in webhook_variables
    )
    options["drain"] = options["drain"] or None
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    given = {name: None if value == FOREVER else value for name, value in given.items()}
    return {**given, "flows": None if no_flows else flows or "flows"}


def _check_folders(session: "CommandSession", flows: str | None, roots: Sequence[str]) -> None:
    for root in roots:
        if "://" not in root and not os.path.isdir(root):
            what = "is not a folder" if os.path.exists(root) else "does not exist"
            raise click.UsageError(f"--root {root} {what}: pass a folder that contains sources")
    if flows is None:
        return
    if os.path.isfile(flows):
        folder = os.path.dirname(flows) or "."
        raise click.UsageError(f"--flows {flows} is a file; pass its folder: --flows {folder}")
    if os.access(flows, os.R_OK) and not any(name.endswith(".toml") for name in os.listdir(flows)):
        session.say.note(
            f"lume: no flow files (*.toml) in {flows} yet; `lume flow init SAMPLE -o {flows}/` writes one, which is "
            "served without a restart"
        )


def _from_variable(option: str, name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise click.UsageError(f"{option}: the variable {name} is not set")
    return value
