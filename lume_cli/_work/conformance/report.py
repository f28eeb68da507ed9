"""Runs the checks, and writes their results as JUnit XML."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import aiohttp
import click

from lume_async import ApiConnectionError, Client
from lume_async._base.secret import Secret
from lume_async._http.settings import proxy_of_environment
from lume_cli._settings import ResolvedSettings
from lume_cli._work.conformance.checks import CHECKS
from lume_cli._work.conformance.kit import DATA, Kit, Result, Unmet

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PATIENCE = 10.0
"""Seconds for a response, without --request-timeout."""


async def examine(settings: ResolvedSettings, only: Sequence[str], data: Any, **given: Any) -> None:
    """Make the checks, or only those of some capabilities.

    Raises:
        ApiConnectionError: nothing answers.
        ConfigurationError: the URL or the key can't be used.
    """
    checks = [(check.__name__.partition("_")[0], check) for check in CHECKS]
    if unknown := {*only, *given["require"]} - {name for name, _ in checks}:
        names = ", ".join(dict.fromkeys(name for name, _ in checks))
        raise click.UsageError(f"there is no capability {unknown.pop()!r}, but {names}")
    if given["source"] is not None and "{new}" not in given["source"]:
        raise click.UsageError("--source needs {new}: each run needs a new source")
    url, key = (settings.base_url or "").rstrip("/"), settings.api_key
    Client(key or "spare", base_url=url)  # it checks both
    # Not `trust_env`, which would send a password of ~/.netrc, too.
    proxy = proxy_of_environment(url)
    limit, content = settings.request_timeout or _PATIENCE, data.read() if data else DATA
    async with aiohttp.ClientSession(proxy=proxy, cookie_jar=aiohttp.DummyCookieJar()) as http:
        kit = Kit(http, url, Secret(key) if key else None, limit, data=content, **given)
        try:
            async with asyncio.timeout(kit.patience):
                await kit.ask("GET", "/healthz", key=None)
        except (TimeoutError, Unmet) as error:
            why = error.args[0] if error.args else f"429 for {kit.patience:g} s"
            raise ApiConnectionError(f"GET {url}/healthz: {why}") from None
        for name, check in checks:
            if not only or name in (*only, *given["require"]):
                async with kit.check(name, "offer it"):
                    await check(kit)


def junit(found: Sequence[Result], url: str) -> str:
    """Return the results as JUnit XML, in ASCII and without control characters."""
    states = [one.state for one in found]
    counts = {"tests": len(found), "failures": states.count("fail"), "skipped": states.count("not offered")}
    suite = ElementTree.Element("testsuite", {name: str(count) for name, count in counts.items()})
    suite.set("name", f"lume conformance {url}")
    for one in found:
        named = {"classname": f"lume.{one.check.partition('.')[0]}", "name": one.check}
        case = ElementTree.SubElement(suite, "testcase", named, time=f"{one.seconds:.3f}")
        if one.state != "pass":
            kind = "failure" if one.state == "fail" else "skipped"
            text = "\n".join([one.requirement, *one.exchange])
            ElementTree.SubElement(case, kind, message=one.message).text = text
    ElementTree.indent(suite)
    text = _NOT_IN_XML.sub(lambda found: ascii(found[0])[1:-1], ElementTree.tostring(suite, "unicode"))
    return text.encode("ascii", "xmlcharrefreplace").decode()
