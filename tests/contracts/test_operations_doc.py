"""What docs/operations.md promises to tell: every state, halt, veto, exit code, event and command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trader import errors
from trader.cli import parser
from trader.codes import Halt, ServiceState, Veto, WorkerState
from trader.logs.events import Event

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def rows(heading: str) -> set[str]:
    """Return the first cells of the tables below a heading."""
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    (found,) = [part for part in section if part.startswith(heading)]
    return {cell.strip("` ") for cell in re.findall(r"^\| (`[^|]*|[0-9]+ )\|", found, flags=re.MULTILINE)}


@pytest.mark.parametrize(
    ("heading", "codes"),
    [("States of the service", ServiceState), ("States of a process", WorkerState)],
)
def test_every_state_has_a_row(heading, codes):
    """An owner finds each state that there is, and none that there is not."""
    assert rows(heading) == {code.name.lower() for code in codes}


def test_every_halt_and_veto_has_a_row():
    """An owner finds why nothing is opened."""
    assert rows("Halts") == {code.name.lower() for kind in (Halt, Veto) for code in kind}


def test_every_exit_code_has_a_row():
    """Each code that an error ends a process with."""
    ours = {str(value) for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert rows("Exit codes") == ours | {"243"}


def test_every_event_is_explained():
    """Each TRADER_EVENT that some code sends, and no other."""
    sent = set()
    for path in (ROOT / "trader").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "events.py" and re.search(r"from trader\.logs(\.events)? import .*\bEvent\b", text):
            sent |= set(re.findall(r"\bEvent\.([A-Z_]+)", text))
    assert sent
    told = {event.name for event in Event if f"`{event.value}`" in TEXT}
    assert told == sent - {"DECISION"}  # the decisions are in the ledger


def test_every_command_exists():
    """Each `trader` command in the text is one, with options that it has; each unit and make target too."""
    actions = parser.build()._subparsers._group_actions[0].choices
    found = re.findall(r"(?:sudo |`|^ +)trader ([a-z]+)((?: --[a-z-]+)*)", TEXT, flags=re.MULTILINE)
    assert {"status", "pause", "resume", "flatten", "verify", "check"} <= {name for name, _ in found}
    for name, options in found:
        assert name in actions, name
        for option in options.split():
            assert option in actions[name]._option_string_actions, (name, option)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    used = re.findall(r"(?:sudo |`|^ +)make ([a-z]+)", TEXT, flags=re.MULTILINE)
    assert set(used) <= set(targets)
