"""Which mutants are made, and which tests each of them has to survive."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGES = ("core", "ledger", "risk")

#: what decides nothing that tests could see: how kernels are compiled (the tests run them uncompiled), figures of wear
NOT_MUTATED = ("__init__.py", "compiling.py", "warmup.py")

#: tests of a module beyond its package's, and in place of them for what other packages' tests look at
OTHERS = {
    "core/glide.py": ("tests/property/test_history.py",),
    "core/history.py": ("tests/property/test_history.py",),
    "core/quiet.py": ("tests/property/test_history.py",),
    "core/live.py": ("tests/property/test_live_books.py",),
    "core/shares.py": ("tests/unit/engine/test_kernels.py",),
    "core/inflight.py": ("tests/property/test_live_books.py",),
    "risk/exit_monitor.py": ("tests/unit/engine/test_invalidations.py",),
    "risk/exit_plan.py": ("tests/unit/engine/test_invalidations.py",),
}
PROPERTIES = {
    "core": ("tests/property/test_core_model.py",),
    "ledger": ("tests/property/test_ledger_books.py", "tests/property/test_ledger_restore.py"),
    "risk": (),
}


def modules(root: Path, package: str) -> list[Path]:
    """Return the modules of a package that are mutated, in order, relative to the tree."""
    found = sorted((root / "trader" / package).glob("*.py"))
    return [path.relative_to(root) for path in found if path.name not in NOT_MUTATED]


def tests_of(root: Path, module: Path) -> list[str]:
    """Return the tests of a module, the nearest first: most mutants die there."""
    package = module.parent.name
    own = f"tests/unit/{package}/test_{module.stem}.py"
    near = [own] if (root / own).exists() else []
    rest = [str(path.relative_to(root)) for path in sorted((root / "tests" / "unit" / package).glob("test_*.py"))]
    wanted = [*near, *OTHERS.get(f"{package}/{module.name}", ()), *rest, *PROPERTIES[package]]
    return list(dict.fromkeys(wanted))


#: where a piece of source begins and ends: line and column
Span = tuple[tuple[int, int], tuple[int, int]]


def dead_spans(source: str) -> list[Span]:
    """Return the places at which a mutant is the same program.

    Annotations are never evaluated, and a compiled function's decorator does nothing in a run without compiler.
    """
    spans = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            kernels = [each for each in node.decorator_list if getattr(each, "id", "") in {"kernel", "inline_kernel"}]
            notes = [each.annotation for each in [*node.args.args, *node.args.kwonlyargs, *node.args.posonlyargs]]
            spans += [_span(each) for each in [*kernels, *notes, node.returns] if each is not None]
        elif isinstance(node, ast.AnnAssign):
            spans.append(_span(node.annotation))
    return spans


def _span(node: ast.expr) -> Span:
    return (node.lineno, node.col_offset), (node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)
