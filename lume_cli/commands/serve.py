"""`lume serve`: a real Lume server on this machine."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from lume_cli._options import Keep, Options, Size, output_options, stack

if TYPE_CHECKING:
    import lume_local
    from lume_cli._session import Session

_places = stack(
    click.option("--flows", metavar="DIR", help="Folder with flow files (*.toml); by default flows."),
    click.option(
        "--no-flows", is_flag=True, help="Begin without flow files: versions are registered over HTTP."
    ),
    click.option(
        "--data", default=".lume", show_default=True, metavar="DIR", help="Folder for state and output."
    ),
    click.option(
        "--root",
        "roots",
        multiple=True,
        metavar="DIR",
        help="Folder that sources may lie in; may be repeated. By default the current one and DATA.",
    ),
)
_address = stack(
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; by default a free one."
    ),
    click.option(
        "--key-env", metavar="VARIABLE", help="Take the key from this variable; by default one is made up."
    ),
)
_bounds = stack(
    click.option(
        "--max-active",
        type=click.IntRange(min=1),
        default=2,
        show_default=True,
        help="Runs worked on at once.",
    ),
    click.option(
        "--max-upload",
        "max_upload_bytes",
        type=Size(),
        metavar="SIZE",
        help="The largest upload: 500000, 100M, 2G …; by default 10G. Uploads stay until you remove them.",
    ),
    click.option(
        "--keep",
        type=Keep(above_zero=True),
        metavar="TIME",
        help="How long idempotency keys, the change feed and settled deliveries are kept: 12h, 90d … or "
        "forever; by default 30d. Runs, output and uploads always stay.",
    ),
)
_webhooks = stack(
    click.option(
        "--webhook-secret-env",
        metavar="VARIABLE",
        help="Sign webhooks with the secret in this variable; without it none are called.",
    ),
    click.option(
        "--webhook-host",
        "webhook_hosts",
        multiple=True,
        metavar="HOST",
        help="Host that webhooks may be sent to; may be repeated. By default 127.0.0.1 and localhost.",
    ),
)


@click.command("serve")
@_places
@_address
@_bounds
@_webhooks
@output_options
@click.pass_obj
def command(options: Options, /, *, key_env: str | None, **settings: Any) -> None:
    """Run an embedded Lume server until Ctrl-C; prints its URL, and on stderr how to use it.

    \b
    lume serve --flows examples/flows --root examples/data --port 8080
    lume serve --webhook-secret-env LUME_WEBHOOK_SECRET      # `lume webhook listen` receives
    """
    import anyio

    from lume_cli._loop import Interrupted, run
    from lume_cli._session import Session
    from lume_cli._work.flow_check import need_local

    need_local()
    import lume_local

    session = Session(options)
    wanted = _of_serve(**settings)
    _check_folders(session, wanted["flows"], wanted["roots"] or ())
    if key_env is not None:
        wanted["api_key"] = _of_variable("--key-env", key_env)

    async def work() -> int:
        async with lume_local.serve(**wanted) as server:
            _tell(session, server, key_env)
            await anyio.sleep_forever()
        return 0

    try:
        run(work())
    except Interrupted:
        session.say.note("lume: stopped")  # to be told to stop is how a server's work ends: 0


def _of_serve(
    *,
    flows: str | None,
    no_flows: bool,
    roots: tuple[str, ...],
    max_upload_bytes: int | None,
    keep: float | None,
    webhook_secret_env: str | None,
    webhook_hosts: tuple[str, ...],
    **others: Any,
) -> dict[str, Any]:
    """The settings in the words of `lume_local.serve`; what was not said is left to its own defaults."""
    if no_flows and flows is not None:
        raise click.UsageError("--flows and --no-flows exclude each other")
    if webhook_hosts and webhook_secret_env is None:
        raise click.UsageError(
            "--webhook-host needs --webhook-secret-env: without a secret no webhook is called"
        )
    wanted = {**others, "flows": None if no_flows else flows or "flows", "roots": roots or None}
    if max_upload_bytes is not None:
        wanted["max_upload_bytes"] = max_upload_bytes
    if keep is not None:
        wanted["keep"] = None if keep == float("inf") else keep
    if webhook_secret_env is not None:
        wanted["webhook_secret"] = os.fsencode(_of_variable("--webhook-secret-env", webhook_secret_env))
    if webhook_hosts:
        wanted["webhook_hosts"] = webhook_hosts
    return wanted


def _check_folders(session: "Session", flows: str | None, roots: Sequence[str]) -> None:
    for root in roots:
        if not os.path.isdir(root):
            what = "is no folder" if os.path.exists(root) else "does not exist"
            raise click.UsageError(f"--root {root} {what}: name a folder that sources lie in")
    if flows is None:
        return
    if os.path.isfile(flows):
        folder = os.path.dirname(flows) or "."
        raise click.UsageError(
            f"--flows {flows} is a file: name the folder that it lies in, --flows {folder}"
        )
    if os.path.isdir(flows) and not any(name.endswith(".toml") for name in os.listdir(flows)):
        session.say.note(
            f"lume: there are no flow files (*.toml) in {flows} yet: `lume flow init SAMPLE -o {flows}/` writes "
            "one; start again to serve it"
        )


def _of_variable(option: str, name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise click.UsageError(f"{option}: the variable {name} is not set")
    return value


def _tell(session: "Session", server: "lume_local.Server", key_env: str | None) -> None:
    if session.data.format == "table":
        session.data.line(server.base_url)
    else:
        session.data.document({"base_url": server.base_url})
    key = f'"${key_env}"  # set {key_env} there as well' if key_env else server.api_key
    session.say.text(
        f"lume: serving; stop with Ctrl-C. In another shell:\n"
        f"  export LUME_BASE_URL={server.base_url}\n  export LUME_API_KEY={key}"
    )
