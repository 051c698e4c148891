"""Reads the documents as their readers do: code blocks, commands, inline code, links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGES = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]))

#: what a reader types; a line of a shell block that begins with anything else is unknown to these tests
PROGRAMS = {
    "make", "trader", "systemctl", "journalctl", "apt-get", "git", "install", "sudoedit", "tar", "mv", "chown", "jq",
    "python", "cd",
}  # fmt: skip

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_DIAGRAM = re.compile(r"[└├│─]|^supervisor   ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A code block."""

    page: Path
    language: str  #: "" where none is said
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a shell block, without sudo, variables and pipes."""

    page: Path
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """Its name without the folder."""
        return self.words[0].rsplit("/", 1)[-1]


def blocks(page: Path) -> list[Block]:
    """Return the fenced and the indented code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    fenced = [Block(page, found[1], found[2]) for found in _FENCED.finditer(text)]
    rest = _FENCED.sub("", text)
    indented = re.findall(r"(?:(?<=\n\n)|\A)((?:    [^\n]*\n(?:\n(?=    ))?)+)", rest)
    return fenced + [Block(page, "", re.sub(r"^    ", "", one, flags=re.MULTILINE)) for one in indented]


def kind(block: Block) -> str:
    """Return what a block is: python, yaml, diagram or shell."""
    if block.language:
        return {"py": "python", "yml": "yaml", "sh": "shell"}.get(block.language, block.language)
    if _DIAGRAM.search(block.text):
        return "diagram"
    if re.match(r"(import|from) \w", block.text):
        return "python"
    try:
        if isinstance(yaml.safe_load(block.text), dict):
            return "yaml"
    except yaml.YAMLError:
        pass
    return "shell"


def commands() -> list[Command]:
    """Return every command of every shell block."""
    return [one for page in PAGES for block in blocks(page) if kind(block) == "shell" for one in _split(block)]


def _split(block: Block) -> Iterator[Command]:
    lexer = shlex.shlex(_without_comments(block.text), posix=True, punctuation_chars="|&;\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    words: list[str] = []
    for word in [*lexer, "\n"]:
        if set(word) <= set("|&;\n"):
            if plain := _without_prefix(words):
                yield Command(block.page, tuple(plain))
            words = []
        else:
            words.append(word)


# a comment begins after white space, outside of quotes; a text over several lines is quoted
def _without_comments(text: str) -> str:
    kept, quote = "", ""
    comment = False
    for i, letter in enumerate(text):
        comment = letter != "\n" and (comment or (letter == "#" and not quote and (not i or text[i - 1] in " \t\n")))
        if letter in "'\"" and not comment and quote in ("", letter):
            quote = "" if quote else letter
        kept += "" if comment else letter
    return kept


def _without_prefix(words: list[str]) -> list[str]:
    rest = list(words)
    while rest and re.fullmatch(r"[A-Z_]+=.*", rest[0]):
        rest.pop(0)
    if rest[:1] == ["sudo"]:
        rest = rest[3:] if rest[1:2] == ["-u"] else rest[1:]
    return rest


def inline(page: Path) -> list[str]:
    """Return the inline code of a page; what spans two lines is one."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    return [" ".join(one.split()) for one in re.findall(r"`([^`]+)`", text)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}
