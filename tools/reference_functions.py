"""Shows the functions of a default client in the reference with the signatures of the methods that they are.

An extension of griffe, which reads the source and sees assignments: `run = as_function(Client.run, default_client)`.
"""

from typing import Any

import griffe


class ReferenceFunctions(griffe.Extension):
    """Makes functions of them."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **_: Any) -> None:
        """Replace the assignments of a package that was read."""
        if not isinstance(api := pkg.members.get("_api"), griffe.Module):
            return
        for name, member in list(api.members.items()):
            if isinstance(member, griffe.Attribute) and str(member.value).startswith("as_function("):
                method = _method(loader, f"{pkg.path}._client.Client", name)
                made = griffe.Function(
                    name,
                    parameters=griffe.Parameters(*list(method.parameters)[1:]),
                    returns=method.returns,
                    docstring=member.docstring,
                )
                made.labels |= method.labels
                api.set_member(name, made)


def _method(loader: griffe.GriffeLoader, owner: str, name: str) -> griffe.Function:
    """Return the method of a class, or of one that it inherits from."""
    found = loader.modules_collection[owner]
    for each in (found, *(loader.modules_collection[str(base.canonical_path)] for base in found.bases)):
        if isinstance(method := each.members.get(name), griffe.Function):
            return method
    raise LookupError(f"{owner} has no method {name}")
