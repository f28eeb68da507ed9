"""`lume conformance`: whether a server answers as the wire contract requires."""

from typing import TYPE_CHECKING, Any

import click

from lume_cli._options import GlobalOptions, Seconds, junit_options

if TYPE_CHECKING:
    from lume_cli._work.conformance.kit import Result


@click.command("conformance")
@click.argument("url")
@click.option("--flow", metavar="NAME:VERSION", help="Flow version to run; default: one of the kit.")
@click.option("--source", metavar="PATTERN", help="Paths that the server can read; default: uploads.")
@click.option("--data", type=click.File("rb"), help="Data to upload for FLOW; default: data of the kit.")
@click.option("--only", multiple=True, metavar="CAPABILITY", help="Only its checks; repeatable.")
@click.option("--require", multiple=True, metavar="CAPABILITY", help="Fail if not offered; repeatable.")
@click.option(
    "--timeout", type=Seconds(above_zero=True), default=60.0, help="Limit of a check, by default 1m."
)
@junit_options
@click.pass_obj
def command(options: GlobalOptions, /, *, url: str, timeout: float, **settings: Any) -> None:
    """Check that the server at URL answers as the wire contract requires: for those who write one.

    It STARTS RUNS and registers a flow version: use a server for tests, not one in production. Each check passes,
    fails (with the request and the response), or is not offered by the server. Exits with 7 if one fails.

    Each run needs a new source: {new} in PATTERN and in the data becomes a new word each time.

    \b
    lume conformance http://127.0.0.1:8080
    lume conformance http://127.0.0.1:8080 --flow orders:v1 --source 'in/{new}.csv' -o junit > report.xml
    """
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession
    from lume_cli._settings import resolve
    from lume_cli._work.conformance.report import examine, junit

    session, found = CommandSession(options, "junit"), list[Any]()
    options.base_url = url

    def report(result: "Result") -> None:
        found.append(result)
        if session.data.format == "table":
            text = f": {result.message}" if result.message else ""
            lines = [f"{result.state:11}  {result.check:22}  {result.requirement}{text}", *result.exchange]
            session.data.text("\n    ".join(lines))

    async def work() -> int:
        await examine(resolve(options, session.say.warn), patience=timeout, report=report, **settings)
        if session.data.format == "junit":
            session.data.text(junit(found, url))
        elif session.data.format != "table":
            session.data.values(found)
        states = [one.state for one in found]
        counts = [f"{states.count(state)} {state}" for state in ("pass", "fail", "not offered")]
        session.say.note(", ".join(counts))
        return exit_codes.NOT_CONFORMING if "fail" in states else exit_codes.OK

    session.finish(work())
