"""What the generator of lume_sync writes for one function or method of the core."""

import ast
import re
from collections.abc import Iterator

from sync_source import (
    CORE,
    FACADE,
    HOOKS,
    ITERATE,
    LIVE,
    PLAIN_DUNDERS,
    RENAMED,
    SECRET_NAMES,
    SECRETS,
    Edit,
    FunctionNode,
    Source,
    annotation_edits,
    converter,
    head_of,
    members,
    names_in,
    parameter_of,
    wrapper,
)

EXAMPLE = re.compile(r"^ *(?:>>>|\.\.\.) .*$", re.MULTILINE)
IN_EXAMPLES = RENAMED | {"anext": "next"}


def arguments(function: FunctionNode) -> list[ast.arg]:
    """All parameters in their order, without `self`."""
    given = function.args
    stars = [[arg] if arg else [] for arg in (given.vararg, given.kwarg)]
    every = [*given.posonlyargs, *given.args, *stars[0], *given.kwonlyargs, *stars[1]]
    return [arg for arg in every if arg.arg != "self"]


def signature_names(source: Source, function: FunctionNode) -> set[str]:
    """What has to be imported for a signature: the names in its annotations and its defaults."""
    annotations = [arg.annotation for arg in arguments(function)] + [function.returns]
    defaults = [*function.args.defaults, *function.args.kw_defaults]
    named = (
        node.id for default in defaults if default for node in ast.walk(default) if isinstance(node, ast.Name)
    )
    named = (name for name in named if not source.private_constant(name))
    return set().union(named, *(names_in(annotation) for annotation in annotations if annotation))


def constant_edits(source: Source, function: FunctionNode) -> Iterator[Edit]:
    """A private constant in a default is written out: this side imports public names only."""
    for default in [*function.args.defaults, *function.args.kw_defaults]:
        for node in ast.walk(default) if default else ():
            if isinstance(node, ast.Name) and (value := source.private_constant(node.id)):
                yield (*source.span(node), value)


def signature(source: Source, function: FunctionNode) -> str:
    """`def name(...) -> ...:` as the author wrote it, comments and all."""
    for arg in arguments(function):
        if arg.annotation is None:
            raise source.refuse(arg, f"{function.name}: the parameter {arg.arg} has no annotation")
    if function.returns is None:
        raise source.refuse(function, f"{function.name} has no return annotation")
    begin, end = source.span(function)[0], source.span(function.returns)[1]
    annotations = [arg.annotation for arg in arguments(function) if arg.annotation] + [function.returns]
    edits = [edit for annotation in annotations for edit in annotation_edits(source, annotation)]
    edits += constant_edits(source, function)
    name = RENAMED.get(function.name, function.name)
    return re.sub(r"^(async\s+)?def\s+\w+", f"def {name}", source.text(begin, end, edits)) + ":"


def docstring(source: Source, node: FunctionNode | ast.ClassDef, name: str) -> str:
    """The docstring as it stands in the source, quotes included; its examples wait for nothing on this side."""
    first = node.body[0]
    if ast.get_docstring(node) is None or not isinstance(first, ast.Expr):
        raise source.refuse(node, f"{name} has no docstring")
    return EXAMPLE.sub(lambda line: synchronous(line[0]), source.text(*source.span(first)))


def synchronous(example: str) -> str:
    """A line of an example, as users of this side write it."""
    line = re.sub(r"\b(?:await|async) ", "", example).replace(f"{CORE}.", f"{FACADE}.")
    line = re.sub(r"\[(\w+) for \1 in (.+)\]", r"list(\2)", line)
    return re.sub(r"\b\w+\b", lambda word: IN_EXAMPLES.get(word[0], word[0]), line)


def passed_on(source: Source, function: FunctionNode) -> str:
    """The arguments of the call to the core."""
    given, parts = function.args, []
    for arg in arguments(function):
        assert arg.annotation is not None
        convert = converter(source, arg.annotation)
        value = arg.arg if convert is None or convert in SECRETS.values() else f"{convert}({arg.arg})"
        if arg in (given.vararg, given.kwarg):
            if convert:
                raise source.refuse(arg, f"{function.name}: no way to bring *{arg.arg} across")
            value = ("*" if arg is given.vararg else "**") + value
        elif arg in given.kwonlyargs:
            value = f"{arg.arg}={value}"
        parts.append(value)
    return ", ".join(parts)


def secrets(source: Source, function: FunctionNode) -> list[str]:
    """Statements that hide what may be secret."""
    found = []
    for arg in arguments(function):
        convert = converter(source, arg.annotation) if arg.annotation else None
        hide = convert if convert in SECRETS.values() else SECRET_NAMES.get(arg.arg)
        if hide is not None:
            found.append(f"{arg.arg} = {hide}({arg.arg})")
    return found


def body(
    source: Source, owner: str, function: FunctionNode, core: str = "self._core", *, iterates: bool = False
) -> list[str]:
    """The statements that stand in for the core's."""
    name, given = function.name, passed_on(source, function)
    if name == "__init__":
        return [*secrets(source, function), f"self._core = {CORE}.{owner}({given})"]
    if name == "__aenter__":
        held = "self._core, self._steps" if iterates else "self._core"
        return [
            f"held = hold({held})",
            "call(held.enter).result()",
            'self._held = [*getattr(self, "_held", ()), held]',  # a client can be entered again
            "return self",
        ]
    if name == "__aexit__":
        return [returned(source, function, f"call(self._held.pop().leave, {given}).result()")]
    if name == "__eq__":
        return [f"return self._core == other._core if isinstance(other, {owner}) else NotImplemented"]
    if name == "__repr__":  # a traceback that shows locals may ask an object whose constructor failed
        return [f'return repr(self._core) if hasattr(self, "_core") else "<{owner}, unfinished>"']
    if name == "__setstate__":
        return [f"self._core = revive({CORE}.{owner}, state)"]
    if isinstance(function, ast.AsyncFunctionDef):
        hop = ", ".join(filter(None, [f"{core}.{name}", given]))
        return hidden(source, function, f"call({hop}).result()")
    if name in PLAIN_DUNDERS | HOOKS:
        return [returned(source, function, f"{core}.{name}({given})")]
    if function.decorator_list:
        return [returned(source, function, f"{core}.{name}")]
    return ["with adopted:", *("    " + line for line in hidden(source, function, f"{core}.{name}({given})"))]


def hidden(source: Source, function: FunctionNode, expression: str) -> list[str]:
    """The statement that returns the expression, after those that hide secrets."""
    lines = secrets(source, function)
    if function.returns is not None and head_of(function.returns) == "Self":
        return [*lines, expression, "return self"]
    return [*lines, returned(source, function, expression)]


def returned(source: Source, function: FunctionNode, expression: str) -> str:
    """The statement that gives the caller the expression's value in the caller's own types."""
    assert function.returns is not None
    if ast.unparse(function.returns) in ("None", "NoReturn"):
        return expression
    if iterate := ITERATE.get(head_of(function.returns) or ""):
        wrap = wrapper(source, parameter_of(function.returns)) or "same"
        return f"return {iterate}({expression}, {wrap})"
    union = [head_of(member) for member in members(function.returns)]
    if len(union) > 1 and set(union) <= {*LIVE, "Items"}:  # overloads say which
        live = next(head for head in union if head in LIVE)
        return f"return twin({live}, {expression})"
    wrap = wrapper(source, function.returns) or ""
    return f"return {wrap}({expression})" if wrap else f"return {expression}"


def iteration(source: Source, owner: str, function: FunctionNode, item: ast.expr) -> str:
    """`__iter__` or `__next__` of a class that is its own iterator: one iteration goes with the object.

    It may hold items that came with the last hop, and leaving a `for` loop must not lose them.
    """
    item_text = source.text(*source.span(item))
    steps = function.name == "__anext__"
    head = f"def __next__(self) -> {item_text}:" if steps else f"def __iter__(self) -> Items[{item_text}]:"
    doc = docstring(source, function, f"{owner}.{function.name}")
    return f"    {head}\n        {doc}\n        return {'next(self._steps)' if steps else 'self._steps'}\n"


def method(source: Source, owner: str, function: FunctionNode, *, iterates: bool = False) -> str:
    """One method or property of a generated class; one that `iterates` holds an iteration of its own."""
    name = function.name
    dunder = name.startswith("__") and name.endswith("__")
    known = {"__init__", "__aenter__", "__aexit__", "__aiter__", "__eq__", "__setstate__"} | PLAIN_DUNDERS
    if dunder and name not in known:
        raise source.refuse(function, f"{owner}.{name}: nothing is known about this special method")
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    if decorators == ["overload"]:
        return f"    @overload\n    {signature(source, function)} ...\n"
    if decorators not in ([], ["property"]):
        raise source.refuse(
            function, f"{owner}.{name}: nothing is known about the decorator @{decorators[0]}"
        )
    lines = ["@property"] if decorators else []
    lines.append(signature(source, function))
    if name != "__init__":  # the class's docstring speaks for it
        lines.append("    " + docstring(source, function, f"{owner}.{name}"))
    lines += ["    " + line for line in body(source, owner, function, iterates=iterates)]
    return "".join(f"    {line}\n" for line in lines)
