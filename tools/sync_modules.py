"""What the generator of lume_sync writes for a whole module of the core."""

import ast
import builtins
from collections.abc import Iterator

from sync_methods import body, docstring, iteration, method, signature, signature_names
from sync_source import (
    ASYNC_TYPES,
    BASES,
    CONSTRUCTED,
    CORE,
    FACADE,
    HOOKS,
    LIVE,
    OWN,
    PART_OWNERS,
    PARTS,
    RENAMED,
    Edit,
    FunctionNode,
    Source,
    head_of,
    names_in,
    parameter_of,
    wrapper,
)

BRIDGE = (
    f"import {CORE}\n"
    "from typing import Self\n"
    f"from {FACADE}._bridge import adopted, call, core_of, cores_of, hold, in_event, in_list, in_outcome\n"
    f"from {FACADE}._bridge import Held, Items, iterate, offload, portal, pulled, revive, same, twin, twin_of\n"
    f"from {FACADE}._bridge import Paged, check_names, paged, veiled, veiled_headers\n"
)
"""More than any module needs: ruff takes out what one does not use."""


def imports(
    source: Source, functions: list[FunctionNode], own: set[str], base: ast.expr | None = None
) -> str:
    """The imports behind the names in the signatures: public names of the core, the standard library, live twins."""
    wanted = (
        set().union(
            *(signature_names(source, function) for function in functions), names_in(base) if base else ()
        )
        - own
        - ASYNC_TYPES
        - set(dir(builtins))
    )
    lines = [f"from {FACADE}.{LIVE[name]} import {name}\n" for name in wanted & LIVE.keys()]
    for_types: list[str] = []
    variables = sorted(wanted & source.type_variables())
    if variables:
        lines.append("from typing import TypeVar, overload\n")
        wanted -= set(variables)
    wanted -= LIVE.keys()
    for node in source.imports():
        module = node.module if isinstance(node, ast.ImportFrom) else None
        for alias in node.names:
            bound = alias.asname or alias.name.partition(".")[0]
            if bound not in wanted:
                continue
            wanted.discard(bound)
            as_name = f" as {alias.asname}" if alias.asname else ""
            if module is None and source.is_for_types(node):
                for_types.append(f"    import {alias.name}{as_name}\n")
            elif module is None:
                lines.append(f"import {alias.name}{as_name}\n")
            elif module.partition(".")[0] != CORE:
                lines.append(f"from {module} import {alias.name}{as_name}\n")
            elif alias.name in source.public:
                lines.append(f"from {CORE} import {alias.name}{as_name}\n")
            else:
                raise source.refuse(
                    node, f"{alias.name} is in a public signature: make it a public name of {CORE}"
                )
    lines += [f"from {CORE} import {name}\n" for name in wanted & source.public]  # from "lume_async.X"
    wanted -= source.public
    if wanted:
        raise source.refuse(
            source.tree, f"{', '.join(sorted(wanted))}: a public signature may use imported names only"
        )
    if for_types:
        lines.append("from typing import TYPE_CHECKING\n")
        for_types.insert(0, "if TYPE_CHECKING:\n")
    return "".join([*sorted(lines), *for_types, *(f'{name} = TypeVar("{name}")\n' for name in variables)])


def live_class(source: Source, node: ast.ClassDef) -> str:
    """The synchronous twin of a class that holds a connection."""
    name = node.name
    if (
        any(head_of(base) not in BASES and head_of(base) not in PARTS for base in node.bases)
        or node.keywords
        or [ast.unparse(mark) for mark in node.decorator_list] not in ([], ["public"])
    ):
        raise source.refuse(node, f"{name}: nothing is known about its bases or decorators")
    methods = list(public_functions(source, node))
    items = next((base for base in node.bases if head_of(base) == "Items"), None)
    if items is not None:
        return items_class(source, node, items, methods)
    step = next((function.returns for function in methods if function.name == "__anext__"), None)
    fields = {"_core": f"{CORE}.{name}"}
    if any(function.name == "__aenter__" for function in methods):
        fields["_held"] = "list[Held]"
    makes = ["self._core = core"]
    if step is not None:
        if name in CONSTRUCTED:
            raise source.refuse(
                node, f"{name}: only what is never constructed by users may be its own iterator"
            )
        fields["_steps"] = f"Items[{source.text(*source.span(step))}]"
        makes.append(f"self._steps = iterate(core, {wrapper(source, step) or 'same'})")
    head = [
        *([] if name in CONSTRUCTED else [f"@twin_of({CORE}.{name})"]),
        f"class {name}({', '.join(parts_of(node))}):" if parts_of(node) else f"class {name}:",
        "    " + docstring(source, node, name) + "\n",
        f'    __module__ = "{FACADE}"',
        f"    __slots__ = ({', '.join(map(repr, ['__weakref__', *fields]))})\n",
        *(f"    {field}: {annotation}" for field, annotation in fields.items()),
        "\n    @classmethod",
        f"    def _wrap(cls, core: {CORE}.{name}) -> Self:",
        "        self = cls.__new__(cls)",
        *("        " + line for line in makes),
        "        return self\n",
    ]
    parts = [
        iteration(source, name, function, step)
        if step is not None and function.name in ("__aiter__", "__anext__")
        else method(source, name, function, iterates=step is not None)
        for function in methods
    ]
    text = "\n".join(head) + "\n" + "\n".join(parts)
    bases = "".join(f"from {FACADE}.{PARTS[part]} import {part}\n" for part in parts_of(node))
    return BRIDGE + bases + imports(source, methods, {name}) + "\n\n" + text


def items_class(source: Source, node: ast.ClassDef, items: ast.expr, methods: list[FunctionNode]) -> str:
    """The synchronous twin of a class that is an iterator itself: those methods are inherited."""
    own = [function for function in methods if function.name not in ("__anext__", "aclose")]
    name, wrap = node.name, wrapper(source, parameter_of(items)) or "same"
    head = [
        f"@twin_of({CORE}.{name})",
        f"class {name}({source.text(*source.span(items))}):",
        "    " + docstring(source, node, name) + "\n",
        f'    __module__ = "{FACADE}"\n',
        f"    _core: {CORE}.{name}\n",
        "    @classmethod",
        f"    def _wrap(cls, core: {CORE}.{name}) -> Self:",
        f"        self = cls(portal, core, {wrap})",
        "        self._core = core",
        "        return self\n",
    ]
    text = "\n".join(head) + "\n" + "\n".join(method(source, name, function) for function in own)
    return BRIDGE + imports(source, own, {name}, items) + "\n\n" + text


def parts_of(node: ast.ClassDef) -> list[str]:
    """The classes that it inherits operations from."""
    return [head for base in node.bases if (head := head_of(base)) in PARTS]


def part_class(source: Source, node: ast.ClassDef) -> str:
    """The twin of a class that a live class inherits from."""
    if node.bases or node.keywords or node.decorator_list:
        raise source.refuse(node, f"{node.name}: nothing is known about its bases or decorators")
    methods = list(public_functions(source, node))
    head = [
        f"class {node.name}:",
        "    " + docstring(source, node, node.name) + "\n",
        "    __slots__ = ()\n",
        f"    _core: {CORE}.{PART_OWNERS.get(node.name, 'Client')}\n",
    ]
    parts = [method(source, node.name, function) for function in methods]
    return BRIDGE + imports(source, methods, set()) + "\n\n" + "\n".join(head) + "\n" + "\n".join(parts)


def public_functions(source: Source, node: ast.ClassDef) -> Iterator[FunctionNode]:
    """What users may call; private names stay in the core."""
    for item in node.body[1:]:
        targets = item.targets if isinstance(item, ast.Assign) else [getattr(item, "target", None)]
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            special = item.name.startswith("__") or item.name in HOOKS
            if (special or not item.name.startswith("_")) and (
                item.name != "__init__" or node.name in CONSTRUCTED
            ):
                yield item
        elif not all(isinstance(target, ast.Name) and target.id.startswith("_") for target in targets):
            raise source.refuse(item, f"{node.name}: nothing is known about this statement")


def functions_module(source: Source) -> str:
    """The module-level functions. One that only calls the default client hops from here: one frame, not two."""
    functions, parts = [], []
    for node in source.tree.body[1:]:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            functions.append(node)
            if core := delegate(node):
                lines = ["", docstring(source, node, node.name), *body(source, "", node, core)]
                parts.append(signature(source, node) + "\n    ".join(lines) + "\n")
                continue
        parts.append(mirrored(source, node))
    return BRIDGE + imports(source, functions, set()) + "\n\n".join(["", *parts])


def delegate(function: FunctionNode) -> str | None:
    """What has the function of the same name in the core, where `return` with a call of that is all there is."""
    last = function.body[-1]
    value = last.value if isinstance(last, ast.Return) and len(function.body) == 2 else None
    value = value.value if isinstance(value, ast.Await) else value
    called, name = ast.unparse(value.func) if isinstance(value, ast.Call) else None, function.name
    return {f"default_client().{name}": "default_client()._core", f"_{name}.{name}": CORE}.get(called or "")


def mirrored(source: Source, statement: ast.stmt) -> str:
    """A statement as it stands, with the names of this side and nothing to wait for."""
    begin, end = source.span(statement)
    edits: list[Edit] = []
    for node in ast.walk(statement):
        if isinstance(node, (ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom, ast.Lambda)):
            raise source.refuse(node, "only calls can be mirrored")
        if isinstance(node, ast.Await):
            edits.append((source.span(node)[0], source.span(node.value)[0], ""))
        elif isinstance(node, ast.Attribute) and node.attr in RENAMED:
            edits.append((source.span(node.value)[1], source.span(node)[1], "." + RENAMED[node.attr]))
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        edits.append((*source.span(statement.body[0]), docstring(source, statement, statement.name)))
        begin = source.span(statement.returns)[1] if statement.returns else begin
        return signature(source, statement).removesuffix(":") + source.text(begin, end, edits) + "\n"
    return source.text(begin, end, edits) + "\n"


def package(homes: dict[str, str]) -> str:
    """`lume_sync/__init__.py`: the same public names; the twins from here, plain data from the core."""
    twins = {name: f"{FACADE}.{module}" for name, module in (LIVE | OWN).items()}
    places: dict[str, list[str]] = {}
    for name, module in homes.items():
        twin = f"{FACADE}._api" if module == f"{CORE}._api" else CORE
        places.setdefault(twins.get(name, twin), []).append(RENAMED.get(name, name))
    lines = [
        f"    from {place} import {', '.join(f'{name} as {name}' for name in names)}\n"
        for place, names in sorted(places.items())
    ]
    return PACKAGE.format(imports="".join(lines), core=CORE, facade=FACADE)


PACKAGE = '''
"""The synchronous API of lume-client: the same operations as lume_async; each call waits for its answer.

Names are loaded on first use: importing the package starts nothing and loads no HTTP library.
"""

TYPE_CHECKING = False  # importing `typing` would take longer than this whole module

if TYPE_CHECKING:
{imports}
else:
    # Here, as the first call may come from an exit handler, which could no longer import it.
    import concurrent.futures.thread as _thread  # noqa: F401

    from {core}._base.lazy import lazily as _lazily
    from {facade}._exports import NAMES as _NAMES

    __all__, __getattr__, __dir__ = _lazily(__name__, _NAMES, together=("{core}", "{facade}"))
'''
