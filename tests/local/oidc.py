"""A real OpenID Connect issuer, and what a server's file of keys has for it."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from components import ROOT, component

AUDIENCE = "urn:lume"


def entry(
    name: str, role: str, issuer: str, claim: str | None = "groups", value: str | None = None, *more: str
) -> str:
    """An entry of the file of keys."""
    lines = [f"[{name}]", f'role = "{role}"', f'issuer = "{issuer}"', f'audience = "{AUDIENCE}"']
    if claim is not None:
        lines += [f'claim = "{claim}"', f'value = "{value or name}"']
    return "\n".join([*lines, *more]) + "\n"


@contextmanager
def issuer(folder: Path, port: int, key: Any) -> Iterator[str]:
    """oidc-provider, as long as the block lasts."""
    modules = ROOT / ".components/oidc/node_modules"
    if not (modules / "oidc-provider").exists():
        pytest.skip("oidc-provider is not installed: ./scripts/components")
    jwks = json.dumps({"keys": [key.as_dict(private=True) | {"use": "sig"}]})
    program = [
        component("node"),
        str(Path(__file__).with_name("oidc_issuer.mjs")),
        str(modules),
        str(port),
        jwks,
    ]
    with (
        (folder / "issuer.txt").open("wb") as said,
        subprocess.Popen(program, stdout=subprocess.PIPE, stderr=said) as node,
    ):
        try:
            assert node.stdout is not None
            assert node.stdout.readline() == b"listening\n", (folder / "issuer.txt").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            node.kill()
