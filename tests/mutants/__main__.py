"""Change the rules a little, one mutant at a time, and see whether a test notices.

    python -m tests.mutants --sample 60 --seed 7

Mutants are made by cosmic-ray, in a copy of the tree: the checkout is never touched. Kernels run uncompiled, or each
mutant would be compiled for minutes. A mutant is tested in a process forked from one that has loaded the libraries
already, so that some hundred take minutes instead of hours. Fails when fewer than 80 % of a package's mutants die.
"""

from __future__ import annotations

import argparse
import difflib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.mirror import PACKAGES, dead_spans, modules, tests_of

ROOT = Path(__file__).parents[2]
WANTED_FRAC = 0.8
#: a mutant that loops forever is noticed; the tests themselves take half a minute on a busy machine
LIMIT_S = 240.0


@dataclass(frozen=True)
class Mutant:
    """One change of one module."""

    module: Path
    operator: str
    occurrence: int


def mutants_of(root: Path, package: str) -> Iterator[Mutant]:
    """Yield every mutant of a package that is another program."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    operators = {name: get_operator(name) for name in operator_names()}
    plain = {name: kind() for name, kind in operators.items() if not kind.arguments()}
    for module in modules(root, package):
        source = (root / module).read_text(encoding="utf-8")
        dead = dead_spans(source)
        nodes = list(ast_nodes(get_ast(source)))
        for name, operator in plain.items():
            places = [start for node in nodes for start, _ in operator.mutation_positions(node)]
            for occurrence, place in enumerate(places):
                if not any(first <= place <= last for first, last in dead):
                    yield Mutant(module, name, occurrence)


def mutated(source: str, mutant: Mutant) -> str:
    """Return a module's source with the one change."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed: str | None = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    if changed is None:
        raise ValueError(f"{mutant.module} has no {mutant.operator} number {mutant.occurrence}")
    return changed


class Bench:
    """A copy of the tree in which one module at a time is changed and tested.

    Parameters
    ----------
    folder : Path
        Where the copy goes; it is the caller's to remove.
    """

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        skip = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "data", "docs")
        shutil.copytree(ROOT, self.root, ignore=skip)
        self._writes = 0
        self._output = folder / "output.txt"

    def survives(self, mutant: Mutant) -> str | None:
        """Return the difference of a mutant that no test has noticed, None for one that was."""
        path = self.root / mutant.module
        source = path.read_text(encoding="utf-8")
        changed = mutated(source, mutant)
        try:
            self._write(path, changed)
            if not self.passes(tests_of(self.root, mutant.module)):
                return None
        finally:
            self._write(path, source)
        name = str(mutant.module)
        lines = difflib.unified_diff(source.splitlines(), changed.splitlines(), name, name, lineterm="", n=2)
        return "\n".join(lines)

    def passes(self, tests: list[str]) -> bool:
        """Run tests in a process of their own, first failure ends them."""
        child = os.fork()
        if child == 0:
            self._test(tests)
        deadline = time.monotonic() + LIMIT_S
        try:
            while True:
                done, status = os.waitpid(child, os.WNOHANG)
                if done:
                    return os.waitstatus_to_exitcode(status) == 0
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    return False
                time.sleep(0.02)
        finally:
            self._end_group(child)

    @property
    def output(self) -> str:
        """What the last tests wrote."""
        return self._output.read_text(errors="replace")

    def _test(self, tests: list[str]) -> None:
        import pytest

        code: int = 1
        try:
            os.setsid()
            out = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.chdir(self.root)
            os.environ["PYTHONPATH"] = str(self.root)
            sys.path[:] = [str(self.root), *[each for each in sys.path if each not in {"", str(ROOT)}]]
            for name in [each for each in sys.modules if each.split(".")[0] in {"tests", "trader"}]:
                del sys.modules[name]
            # a test that asks for the compiler's own words has nothing to say about uncompiled kernels
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-k", "not compile_nothing", *tests]))
        except BaseException:  # noqa: BLE001 (nothing of a child may run on in its parent's code)
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _write(self, path: Path, source: str) -> None:
        path.write_text(source, encoding="utf-8")
        # compiled modules are told apart by the second of their source: two writes must never share one
        self._writes += 2
        os.utime(path, (1_000_000_000 + self._writes, 1_000_000_000 + self._writes))

    @staticmethod
    def _end_group(leader: int) -> None:
        try:
            os.killpg(leader, signal.SIGKILL)
        except ProcessLookupError:
            return


def sound(bench: Bench, package: str) -> bool:
    """Tell whether a package's tests pass as long as nothing is changed: what kills then is the mutant."""
    every = (test for module in modules(bench.root, package) for test in tests_of(bench.root, module))
    passed = bench.passes(list(dict.fromkeys(every)))
    if not passed:
        print(f"the tests of {package} fail without any mutant:\n{bench.output[-4000:]}", flush=True)
    return passed


def hunt(bench: Bench, package: str, sample: int | None, seed: int) -> float | None:
    """Try a package's mutants, print those that live, and return the share that died."""
    everything = list(mutants_of(bench.root, package))
    chosen = everything
    if sample is not None and sample < len(everything):
        chosen = random.Random(f"{seed} {package}").sample(everything, sample)
    if not sound(bench, package):
        return None
    killed = 0
    for number, mutant in enumerate(chosen, 1):
        left = bench.survives(mutant)
        killed += left is None
        if left is not None:
            print(f"{left}\nsurvived ({package} {number} of {len(chosen)}, {mutant.operator})\n", flush=True)
    share = killed / len(chosen)
    print(f"{package:8} {killed} of {len(chosen)} killed: {share:.1%} (of {len(everything)} mutants)", flush=True)
    return share


def main() -> int:
    """Run the sample and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument("--sample", default="60", help="mutants per package, or all")
    parser.add_argument("--seed", type=int, default=7, help="which sample is drawn")
    parser.add_argument("--only", default="", choices=("", *PACKAGES), help="one package")
    given = parser.parse_args()
    sample = None if given.sample == "all" else int(given.sample)

    os.environ["NUMBA_DISABLE_JIT"] = "1"  # before numba is loaded
    import numba  # noqa: F401 (loaded once for all; libraries of pytest's own would come too early)
    import pydantic  # noqa: F401
    import yaml  # noqa: F401

    with tempfile.TemporaryDirectory(prefix="trader-mutants-") as folder:
        bench = Bench(Path(folder))
        shares = [hunt(bench, each, sample, given.seed) for each in PACKAGES if given.only in {"", each}]
    return 0 if all(share is not None and share >= WANTED_FRAC for share in shares) else 1


if __name__ == "__main__":
    sys.exit(main())
