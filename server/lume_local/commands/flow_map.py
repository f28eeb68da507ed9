"""`lume flow map`: propose a flow version that reads samples and fills a target."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from lume_async import ConfigurationError, NotSupportedError
from lume_async._base.words import counted
from lume_async.models import JsonObject
from lume_cli._options import GlobalOptions, Utf8, file_options
from lume_cli._output.errors import in_options
from lume_cli._output.text import as_json as as_json_text
from lume_cli._output.text import columns, visible
from lume_cli._session import CommandSession
from lume_cli._streams import write_utf8
from lume_cli.commands import FILE
from lume_local import FlowError, ProposedFlow, open_trial, propose
from lume_local._mapping.proposal import LayoutProposal
from lume_local.commands import flow_write
from lume_local.commands.flow_write import delim_option

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*:[A-Za-z0-9][A-Za-z0-9_.-]*")
_LONGEST = 40
"""The maximum length of a value in the summary, in characters."""


@click.command("map", short_help="Propose how samples become a target.")
@click.argument("target", metavar="TARGET", type=Utf8())
@click.argument("samples", nargs=-1, required=True, metavar="SAMPLE...", type=FILE)
@click.option("--name", "flow", metavar="NAME", help="Name of the flow; default: that of the target.")
@click.option(
    "--references",
    metavar="VARIABLE",
    help="Environment variable with the database that `relationships` of a contract or dbt model refer to.",
)
@click.option(
    "--suggest",
    metavar="PROGRAM",
    type=FILE,
    help="A program that suggests source columns, too: JSON in, JSON out.",
)
@click.option(
    "--layout",
    metavar="NAME",
    help="Name of the new layout, which is added even if TARGET reads the samples; default: like the sample.",
)
@click.option(
    "--footer",
    "footers",
    metavar="SAMPLE",
    multiple=True,
    type=FILE,
    help="A sample whose last lines are no records, as the proposal has asked; may be repeated.",
)
@click.option(
    "--encoding",
    "encodings",
    metavar="[SAMPLE=]NAME",
    multiple=True,
    help="Encoding of the CSV samples, such as cp1252, or of one of them: a.csv=cp1252; may be repeated; "
    "default: guessed.",
)
@delim_option
@click.option(
    "-o",
    "--output",
    metavar="FILE|DIR/",
    help="The *.toml file to write, or a folder (created if missing); default: stdout.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print the whole proposal as JSON, with all candidates."
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
@file_options
@click.pass_obj
def command(
    options: GlobalOptions,
    /,
    *,
    target: str,
    samples: tuple[Path, ...],
    output: str | None,
    as_json: bool,
    force: bool,
    **how: Any,
) -> None:
    """Propose a flow version that reads every SAMPLE and fills TARGET; the evidence is in its comments.

    TARGET is a JSON Schema (*.json), a flow version of the server (customers:v3) or its file (*.toml), whose next
    version gets a layout for samples that it does not read, an object of a data contract
    (crm.odcs.yaml:customers), a model of a dbt file (schema.yml:customers), or a table of the database whose
    URL is in an environment variable (env:WAREHOUSE_URL:public.customers). Samples that are written alike share a
    layout. A column for which no source column is likely enough stays unmapped. With -o, each
    SAMPLE is tried. Nothing is registered.

    \b
    lume flow map customers.schema.json kunden.csv -o flows/
    lume flow map customers:v3 kunden.xlsx -o flows/
    """
    session = CommandSession(options)
    into = None if output is None else flow_write.target_of(output)

    async def work() -> None:
        found, pinned = await _proposal(session, target, samples, **how)
        lines = [line for layout in found.layouts for line in _of_layout(found, layout)]
        session.say.text("\n".join([*lines, *(f"decide: {visible(doubt)}" for doubt in found.doubts)]))
        is_new = any(layout.is_new for layout in found.layouts) or bool(found.seeds)
        if not is_new:
            session.say.note(f"{found.target} reads every sample: there is nothing to write")
        elif into is not None:
            path = _write(session, found, into, force=force)
            for sample in [one.absolute() for one in samples]:
                await _try(session, path, sample)
            session.say.note(f"review {path}: it has the evidence, and what to decide, as comments")
            if pinned:
                session.say.note(
                    f"these arrivals keep their version until their flow is set to {found.flow_version}: "
                    + ", ".join(pinned)
                )
        elif found.seeds and not as_json:
            session.say.warn(f"seed files are written with -o only: {', '.join(found.seeds)}")
        if as_json or (is_new and into is None):
            write_utf8()
            session.data.text(as_json_text(found.to_json(), indent=2) if as_json else found.toml.rstrip("\n"))

    session.finish(work())


async def _proposal(
    session: CommandSession, target: str, samples: Sequence[Path], encodings: Sequence[str], **how: Any
) -> tuple[ProposedFlow, list[str]]:
    """Return the proposal, and the arrivals that name a version of the flow; both are the server's for its versions.

    `how` are further arguments of `lume_local.propose`.

    Raises:
        click.ClickException: there is none.
    """
    wanted: str | JsonObject = target
    pinned = list[str]()
    if _is_ref(target):
        async with session.client() as client:
            wanted = (await client.flow_version(target)).definition
            with suppress(NotSupportedError):
                known = (await client.arrivals()).arrivals
                flow = target.partition(":")[0]
                pinned = [visible(one.name) for one in known if one.flow.startswith(f"{flow}:")]
    try:
        return await propose(wanted, samples, encoding=_by_sample(encodings, samples), **how), pinned
    except FlowError as error:
        one = " SAMPLE=NAME" if len(samples) > 1 else ""  # the others need none, or another one
        problem = in_options(error.problem).replace("pass --encoding", f"pass --encoding{one}")
        raise click.ClickException(f"{error.place}: {problem}" if error.place else problem) from None
    except (ConfigurationError, ModuleNotFoundError) as error:
        is_missing = isinstance(error.__context__, FileNotFoundError)
        raise (click.UsageError if is_missing else click.ClickException)(str(error)) from None


def _by_sample(given: Sequence[str], samples: Sequence[Path]) -> dict[str, str]:
    """Return the encoding of each sample that has one of its own, or the one of all."""
    found = dict[str, str]()
    for one in given:
        sample, _, name = one.rpartition("=")
        found |= (
            {str(Path(sample)): name}
            if sample
            else {str(path): name for path in samples if str(path) not in found}
        )
    return found


def _is_ref(target: str) -> bool:
    """Return whether the target is a flow version of the server, and not a file."""
    return _REF.fullmatch(target) is not None and not Path(target).exists()


def _write(session: CommandSession, found: ProposedFlow, into: Path, *, force: bool) -> Path:
    """Write the flow file and the seed files that it names, which belong to the current folder; return the former."""
    flow, _, version = found.flow_version.partition(":")
    path = flow_write.file_in(into, flow, version)
    for seed in found.seeds:
        if Path(seed).exists() and not force:
            raise click.UsageError(f"{seed} exists; pass --force to overwrite it")
    flow_write.write(path, found.toml, force=force)
    for seed, text in found.seeds.items():
        flow_write.write(Path(seed), text, force=force)
        session.say.note(f"wrote {seed}: correct its column target where a value means something else")
    session.say.note(f"wrote {path}")
    return path


async def _try(session: CommandSession, path: Path, sample: Path) -> None:
    """Print what the flow file makes of a sample: the numbers of rows by layout, and why rows are rejected."""
    async with open_trial(sample) as trial:
        tried = await trial.try_flow(path, limit=0)
    metrics, shown = tried.metrics, visible(sample.name)
    if tried.message is not None:
        session.say.warn(f"{tried.ref} on {shown}: {tried.status}: {visible(tried.message)}")
        return
    used = metrics.get("source", {}).get("layouts", {})
    by = f" by layout {' and '.join(used)}" if used else ""
    session.say.note(
        f"{tried.ref} on {shown}{by}: {counted(metrics['rows_read'], 'row')} read, {metrics['rows_mapped']:,} clean, "
        f"{metrics['rows_rejected']:,} rejected"
    )
    for reason, rows in sorted(metrics["reject_reasons"].items(), key=lambda one: (-one[1], one[0])):
        session.say.note(f"  {counted(rows, 'row')}: {visible(reason)}")


def _of_layout(proposal: ProposedFlow, layout: LayoutProposal) -> list[str]:
    """Return a line for each target column: its source, its grade, and a value before and after; then the rest."""
    lines = list[str]()
    if layout.name:
        added = "a new layout" if layout.is_new else f"a layout of {proposal.target}"
        lines.append(f"{layout.name}, {added}, reads {', '.join(map(visible, layout.samples))}")
    rows = [("TARGET", "SOURCE", "GRADE", "BEFORE", "AFTER")]
    for column in layout.columns:
        if (chosen := column.chosen) is None:
            rows.append((column.name, "-", "unmapped", "", ""))
            continue
        first = chosen.values[0] if chosen.values else None
        before = _short(first.before) if first else ""
        after = ("rejected" if first.after is None else _short(first.after)) if first else ""
        rows.append((column.name, _short(" + ".join(chosen.sources)), chosen.grade.value, before, after))
    lines += columns(rows)
    grades = Counter(column.chosen.grade.value for column in layout.columns if column.chosen)
    mapped = ", ".join(f"{count} {grade}" for grade, count in grades.items())
    total = counted(len(layout.columns), "column")
    lines.append(f"{sum(grades.values())} of {total} mapped" + (f": {mapped}" if mapped else ""))
    if layout.unused:
        lines.append(f"not read: {', '.join(map(visible, layout.unused))}")
    doubts = [
        f"{one.name}: {doubt}"
        for one in proposal.samples
        if one.name in layout.samples
        for doubt in one.doubts
    ]
    if footers := [one.name for one in proposal.samples if one.name in layout.samples and one.footer]:
        doubts += [f"pass --footer {one} if its last lines are no records" for one in footers]
    doubts += layout.doubts
    for column in layout.columns:
        doubts += [f"{column.name}: {doubt}" for doubt in (column.chosen.doubts if column.chosen else ())]
    return [*lines, *(f"decide: {visible(in_options(doubt))}" for doubt in doubts)]


def _short(text: str | None) -> str:
    shown = visible(text or "")
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
