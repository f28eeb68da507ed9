"""The work of `lume flow map`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from lume_async import ConfigurationError
from lume_async._base.platform import command_line
from lume_cli._session import CommandSession
from lume_cli._work.flow import flow_write
from lume_local import FlowError, ProposedFlow, propose

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*:[A-Za-z0-9][A-Za-z0-9_.-]*")


async def proposal(session: CommandSession, target: str, samples: Sequence[Path], **how: Any) -> ProposedFlow:
    """The proposal; a flow version is fetched from the server. Raises `click.ClickException`.

    `how` are further arguments of `lume_local.propose`.
    """
    wanted: str | dict[str, object] = target
    if is_ref(target):
        async with session.client() as client:
            wanted = (await client.flow_version(target)).definition
    try:
        return await propose(wanted, samples, **how)
    except FlowError as error:
        raise click.ClickException(
            f"{error.place}: {error.problem}" if error.place else error.problem
        ) from None
    except (ConfigurationError, ModuleNotFoundError) as error:
        is_missing = isinstance(error.__context__, FileNotFoundError)
        raise (click.UsageError if is_missing else click.ClickException)(str(error)) from None


def is_ref(target: str) -> bool:
    """Whether it names a flow version of the server, and no file."""
    return _REF.fullmatch(target) is not None and not Path(target).exists()


def write(
    session: CommandSession, found: ProposedFlow, into: Path, samples: Sequence[Path], *, force: bool
) -> None:
    """Write the flow file, and the seed files that it names, which are looked up in the current folder."""
    flow, _, version = found.flow_version.partition(":")
    path = flow_write.file_in(into, flow, version)
    for seed in found.seeds:
        if Path(seed).exists() and not force:
            raise click.UsageError(f"{seed} exists; pass --force to overwrite it")
    flow_write.write(path, found.toml, force=force)
    for seed, text in found.seeds.items():
        flow_write.write(Path(seed), text, force=force)
        session.say.note(f"wrote {seed}: correct its column target where a value means something else")
    session.say.note(
        f"wrote {path}; next: {command_line(['lume', 'flow', 'try', str(path), str(samples[0])])}"
    )
