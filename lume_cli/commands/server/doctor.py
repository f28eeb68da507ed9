"""`lume doctor`: diagnose the connection to the service."""

import click

from lume_cli._options import GlobalOptions, server_options


@click.command("doctor")
@server_options
@click.pass_obj
def command(options: GlobalOptions) -> None:
    """Check configuration, key, URL, proxy, TLS, clock, backup and access: one line each, with a remedy.

    Changes nothing and never shows the key. Exits with 0, 1, or 4 (API key).

    \b
    lume doctor
    lume -p staging doctor -o json
    """
    from lume_cli._output import exit_codes
    from lume_cli._session import CommandSession
    from lume_cli._work.doctor import Finding, findings

    session = CommandSession(options)
    data = session.data

    async def work() -> int:
        found: list[Finding] = []
        async for finding in findings(options):
            found.append(finding)
            if data.format == "table":
                data.text(
                    f"{finding.state:4}  {finding.check:13}  {finding.text}"
                    + (f" -> {finding.fix}" if finding.fix else "")
                )
            elif data.format == "ndjson":
                data.document(to_dict(finding))
        if data.format == "json":
            data.document([to_dict(finding) for finding in found])
        return exit_codes.worst(finding.code for finding in found)

    def to_dict(finding: Finding) -> dict[str, str]:
        described = {"check": finding.check, "state": finding.state, "message": finding.text}
        return described | ({"fix": finding.fix} if finding.fix else {})

    session.finish(work())
