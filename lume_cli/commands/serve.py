"""`lume serve`: a real Lume server on this machine."""

import os

import click

from lume_cli._options import Options, output_options


@click.command("serve")
@click.option(
    "--flows", default="flows", show_default=True, metavar="DIR", help="Folder with flow files (*.toml)."
)
@click.option(
    "--data", default=".lume", show_default=True, metavar="DIR", help="Folder for state and output."
)
@click.option(
    "--root",
    "roots",
    multiple=True,
    metavar="DIR",
    help="Folder that sources may lie in; may be repeated. By default the current one and DATA.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; by default a free one."
)
@click.option(
    "--max-active", type=click.IntRange(min=1), default=2, show_default=True, help="Runs worked on at once."
)
@click.option(
    "--key-env", metavar="VARIABLE", help="Take the key from this variable; by default one is made up."
)
@output_options
@click.pass_obj
def command(
    options: Options,
    *,
    flows: str,
    data: str,
    roots: tuple[str, ...],
    host: str,
    port: int,
    max_active: int,
    key_env: str | None,
) -> None:
    """Run an embedded Lume server until Ctrl-C; prints its URL, and on stderr how to use it.

    \b
    lume serve --flows examples/flows --root examples/data --port 8080
    """
    import asyncio

    from lume_cli._local import need_local
    from lume_cli._loop import Interrupted, run
    from lume_cli._session import Session

    need_local()
    import lume_local

    session = Session(options)
    own_key = os.environ.get(key_env, "") if key_env else None
    if own_key == "":
        raise click.UsageError(f"--key-env: the variable {key_env} is not set")

    async def work() -> int:
        serving = lume_local.serve(
            flows=flows,
            data=data,
            roots=roots or None,
            host=host,
            port=port,
            api_key=own_key,
            max_active=max_active,
        )
        async with serving as server:
            if session.data.format == "table":
                session.data.line(server.base_url)
            else:
                session.data.document({"base_url": server.base_url})
            key = f'"${key_env}"' if key_env else server.api_key
            session.say.text(
                f"lume: serving; stop with Ctrl-C. In another shell:\n"
                f"  export LUME_BASE_URL={server.base_url}\n  export LUME_API_KEY={key}"
            )
            await asyncio.Event().wait()
        return 0

    try:
        run(work())
    except Interrupted:
        session.say.note("lume: stopped")  # to be told to stop is how a server's work ends: 0
