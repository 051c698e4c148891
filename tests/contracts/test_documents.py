"""Every page: its commands are commands, its keys are keys, its files are there, its links lead somewhere."""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.contracts.documents import PAGES, PROGRAMS, ROOT, Block, Command, anchors, blocks, commands, inline, kind
from trader.cli import parser
from trader.config.loading import parse_config
from trader.config.schema import keys
from trader.config.sections import Config

COMMANDS = commands()
BLOCKS = [block for page in PAGES for block in blocks(page)]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, flags=re.MULTILINE))

#: what pages write where a reader puts something
STAND_INS = {"SYMBOL": "BTC/USDT", "DECISION_ID": "4711", "TIME": "2024-01-03", "...": "2024-01-03", "A,B": "BTC/USDT"}


def name_of(value: object) -> str:
    """Return a test's name for a command or a block."""
    if isinstance(value, Command):
        return f"{value.page.name}: {' '.join(value.words)[:60]}"
    if isinstance(value, Block):
        return f"{value.page.name}: {value.text.splitlines()[0][:40]}"
    return str(value)


def test_pages_and_commands_were_found() -> None:
    """These tests look at something."""
    assert {page.name for page in PAGES} >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "api.md", "operations.md"}
    assert len(COMMANDS) > 40
    assert {kind(block) for block in BLOCKS} == {"python", "yaml", "shell", "diagram"}


@pytest.mark.parametrize("command", COMMANDS, ids=name_of)
def test_command_of_a_block_is_one(command: Command) -> None:
    """`trader` understands its options, `make` has its target, units and scripts are there."""
    program, *words = command.words
    assert command.program in PROGRAMS, f"{program}: unknown to readers, or to this test"
    if command.program == "trader":
        parser.build().parse_args(words)  # ends with SystemExit otherwise
    elif command.program == "make":
        check_make(words)
    elif command.program == "systemctl":
        units = [word for word in words if word.startswith("trader")]
        assert units
        for unit in units:
            stem, _, suffix = unit.partition(".")
            found = ROOT / "systemd" / f"{stem.partition('@')[0]}.{suffix or 'service'}"
            assert found.exists(), unit
    elif command.program == "python" and words[0] == "-m":
        assert importlib.util.find_spec(words[1]) is not None


def check_make(words: list[str]) -> None:
    """Raise when a target or a variable of a `make` line is none."""
    for word in words:
        name, equals, _ = word.partition("=")
        if equals:
            assert f"$({name})" in MAKEFILE, word
        else:
            assert word in TARGETS, word


def test_every_make_target_that_is_documented_can_be_made() -> None:
    """`make -n` knows how, down to the last recipe."""
    used = {word for command in COMMANDS if command.program == "make" for word in command.words[1:] if "=" not in word}
    for page in PAGES:
        for code in inline(page):
            if found := re.fullmatch(r"make ([a-z-]+)((?: [A-Z]+=\S+)*)", code):
                check_make(code.split()[1:])
                used.add(found[1])
    assert used >= {"run", "test", "check", "install", "faults", "bench", "package"}
    for target in sorted(used):
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (target, done.stderr)


def test_every_make_target_says_what_it_is_for() -> None:
    """`make help` and the phony list know each one, but the parts of `make check`."""
    told = set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, flags=re.MULTILINE))
    assert TARGETS - told == {"lint", "type", "imports", "docs-lint"}
    phony = set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)[1].split())
    assert phony == TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_within_the_text_are_commands(page: Path) -> None:
    """Name and options of each; the whole line where nothing is left out."""
    choices = parser.build()._subparsers._group_actions[0].choices
    for code in inline(page):
        if not (found := re.match(r"(?:sudo )?trader ([a-z][a-z-]*)\b(?![.:])", code)):
            continue
        assert found[1] in choices, code
        words = shlex.split(code.removeprefix("sudo ").split(" > ")[0])[1:]
        options = choices[found[1]]._option_string_actions
        assert all(word in options for word in words if word.startswith("--")), code
        if words[0] == "llm":
            assert words[1:2] in ([], ["check"], ["show"]), code
        elif len(words) > 1:
            parser.build().parse_args([STAND_INS.get(word, word) for word in words])


@pytest.mark.parametrize("block", [one for one in BLOCKS if kind(one) == "yaml"], ids=name_of)
def test_configuration_in_a_block_is_valid(block: Block) -> None:
    """As a file of its own, with the defaults for the rest."""
    parse_config(block.text.encode(), block.page.name)


@pytest.mark.parametrize("block", [one for one in BLOCKS if kind(one) == "python"], ids=name_of)
def test_python_in_a_block_is_python_and_its_imports_are_there(block: Block) -> None:
    """What is imported exists."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("trader"):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_keys_within_the_text_are_keys(page: Path) -> None:
    """Each `section.key`, with or without a value; `section.prefix_...` for some."""
    known = set(keys())
    for code in inline(page):
        found = re.match(r"([a-z]+)\.([a-z_]+)(\.\.\.)?(?::.*|=.*)?$", code)
        if found is None or found[1] not in Config.model_fields or found[2] in ("db", "md", "py"):
            continue
        if found[2] in {"sent", "filled"} or (page.name == "CHANGELOG.md" and found[1] == "strategies"):
            continue
        name = f"{found[1]}.{found[2]}"
        assert any(key.startswith(name) for key in known) if found[3] else name in known, (page.name, code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_within_the_text_are_there(page: Path) -> None:
    """Files and folders of the repository, named from its top or from the package."""
    for code in inline(page):
        path = code.split(" ")[0].rstrip("/,")
        if re.fullmatch(r"(trader|tests|docs|etc|systemd|bin)/[\w./@-]+", path) or re.fullmatch(r"\w+/\w+\.py", path):
            assert (ROOT / path).exists() or (ROOT / "trader" / path).exists(), (page.name, code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Pages, pictures, headings; only ones within the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), (page.name, target)
        assert ROOT in found.parents
        if anchor:
            assert anchor in anchors(found), (page.name, target)


def test_every_page_can_be_found_from_the_readme() -> None:
    """Nobody has to look into the folder."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page.name == "README.md" or page.name in readme, page.name


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder as a reader of the README has it: candles, `trader.yaml`, and the command."""
    folder = tmp_path_factory.mktemp("reader")
    for number, symbol in enumerate(("BTC_USDT", "ETH_USDT")):
        write_candles(folder / "candles", symbol, number)
    (block,) = [one for one in BLOCKS if one.page.name == "README.md" and kind(one) == "yaml"]
    text = block.text.replace("/path/to/candles", str(folder / "candles"))
    (folder / "trader.yaml").write_text(f"{text}dashboard: {{port: 0}}\n", encoding="utf-8")
    command = folder / ".venv" / "bin" / "trader"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m trader "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return folder


def write_candles(folder: Path, symbol: str, seed: int) -> None:
    """Write 600 candles of five minutes: waves, so that the RSI has something to say."""
    folder.mkdir(exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.002, 600)
    close = np.round(100 * np.exp(np.cumsum(noise + 0.004 * np.sin(np.arange(600) / 20))), 2)
    rows = ["timestamp,open,high,low,close,volume"]
    for i, (o, c) in enumerate(zip(np.append(close[:1], close[:-1]).tolist(), close.tolist(), strict=True)):
        rows.append(f"{1_704_067_200 + 300 * i},{o},{max(o, c) + 0.05:.2f},{min(o, c) - 0.05:.2f},{c},1.0")
    (folder / f"{symbol}-5m.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def test_commands_of_the_readme_do_what_it_says(reader: Path) -> None:
    """Replay, report, audit, backtest, sweep and check, typed as written; then the backup of operations.md."""
    typed = [one for one in COMMANDS if one.page.name == "README.md" and one.words[0] == ".venv/bin/trader"]
    assert [one.words[1] for one in typed] == ["run", "report", "verify", "backtest", "sweep", "check-strategy"]
    said = {}
    for one in typed:
        line = [word.replace("/path/to/candles", str(reader / "candles")) for word in one.words]
        said[one.words[1]] = shell(reader, shlex.join(line))
    assert "BTC/USDT" in said["report"]
    assert (reader / "report.html").stat().st_size > 10_000
    assert "no signal changed" in said["check-strategy"]
    (backup,) = [one for one in COMMANDS if one.program == "python" and one.words[1] == "-c"]
    code = backup.words[2].replace("/var/lib/trader/data", str(reader / "data"))
    copy = reader / "copy.db"
    code = code.replace("/var/lib/trader/ledger-backup.db", str(copy))
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    counted = [count_decisions(path) for path in (reader / "data" / "ledger.db", copy)]
    assert counted[0] == counted[1] > 0


def count_decisions(path: Path) -> int:
    """Return how many decisions a ledger holds."""
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("SELECT count(*) FROM decisions").fetchone()[0])
    finally:
        connection.close()


def shell(folder: Path, line: str) -> str:
    """Return what a line prints that must do; typed where no setting of a trader is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRADER_")}
    env = {**kept, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, (line, done.stdout[-2000:], done.stderr[-3000:])
    return done.stdout


def test_stand_ins_are_refused_as_they_stand() -> None:
    """A command line that makes no sense is noticed: these tests can fail."""
    for words in (["decisions", "--sinse", "2024-01-03"], ["no-such-command"], ["close"]):
        with pytest.raises((SystemExit, argparse.ArgumentError)):
            parser.build().parse_args(words)
