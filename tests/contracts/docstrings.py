"""Docstring lint: `python -m tests.contracts.docstrings` lists public docstrings that do not hold.

Ruff's D rules ask that there is a docstring; this asks that what it says is true. A section
"Parameters" names every parameter, in order, and no other; a function that raises one of our errors
itself names it under "Raises". A one-line docstring that needs no section has none.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from numpydoc.docscrape import NumpyDocString

PACKAGE = Path(__file__).parents[2] / "trader"
#: sections pay from this many parameters on
NEEDS_PARAMETERS = 6


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield public functions of a module and public methods of its public classes."""
    for node in tree.body:
        members = [node] if not isinstance(node, ast.ClassDef) or node.name.startswith("_") else node.body
        for member in members:
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_"):
                yield member


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the names of a function's parameters, without self and cls."""
    arguments = function.args
    names = [item.arg for item in (*arguments.posonlyargs, *arguments.args)]
    if names and names[0] in ("self", "cls"):
        names = names[1:]
    names += [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    names += [item.arg for item in arguments.kwonlyargs]
    return names + ([f"**{arguments.kwarg.arg}"] if arguments.kwarg else [])


def is_kernel(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function is compiled: its records are documented once, in `trader.core.records`."""
    return any(
        isinstance(item, ast.Name) and item.id in {"kernel", "inline_kernel"} for item in function.decorator_list
    )


def problems_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield what is wrong with a function's docstring."""
    text = ast.get_docstring(function)
    if text is None:
        return
    sections = NumpyDocString(text)
    wanted = parameters(function)
    documented = [name.strip() for item in sections["Parameters"] for name in item.name.split(",")]
    if documented and documented != wanted:
        yield f"documents parameters {documented}, takes {wanted}"
    if not documented and len(wanted) >= NEEDS_PARAMETERS and not is_kernel(function):
        yield f"takes {len(wanted)} parameters and documents none"
    if sections["Raises"] and any(not item.type for item in sections["Raises"]):
        yield "a Raises entry has no type"


def main() -> int:
    """Print every problem as FILE:LINE: name: what; return 1 when there is one."""
    found = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in public_functions(tree):
            for problem in problems_of(function):
                found += 1
                print(f"{path.relative_to(PACKAGE.parent)}:{function.lineno}: {function.name}: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
