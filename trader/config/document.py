"""A YAML file as plain values plus the line that each of them stands on.

PyYAML's own loader forgets lines, lets the last of two equal keys win in silence, and turns
dates into objects. This one walks the node tree itself, so that every later complaint can
name a line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

#: more values than any configuration has; stops aliases that multiply
MAX_VALUES = 50_000

_PLAIN_TAGS = {
    "tag:yaml.org,2002:" + name for name in ("null", "bool", "int", "float", "str", "map", "seq", "timestamp", "value")
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """Something wrong at one place of the file, before anything is known about keys."""

    line: int  #: 1-based
    path: Path
    text: str


@dataclass(slots=True)
class Document:
    """What a file says, and where it says it."""

    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    complaints: list[Complaint] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of a path, or of its nearest parent that the file has; 1 when it has none."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Loader(yaml.SafeLoader):
    """Reads `2024-01-03` as text and `1e5` as a number, as an owner means them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str) -> Document:
    """Read YAML; never raises on what the text says, only notes complaints.

    Parameters
    ----------
    text : str
        Contents of the file.

    Returns
    -------
    Document
        `data` is None when nothing could be read, or nothing is there.
    """
    document = Document()
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Walk(loader, document).value(node, ())
    except yaml.YAMLError as error:
        document.complaints.append(_syntax(error, text))
        document.data = None
    except RecursionError:
        document.complaints.append(Complaint(1, (), "is nested too deeply"))
        document.data = None
    return document


class _Walk:
    """One pass over the node tree; keeps what is open, so that an alias can not contain itself."""

    def __init__(self, loader: _Loader, document: Document) -> None:
        self._loader = loader
        self._document = document
        self._open: set[int] = set()
        self._values = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self._values += 1
        if self._values > MAX_VALUES:
            raise yaml.MarkedYAMLError(problem="holds too many values", problem_mark=node.start_mark)
        self._document.lines.setdefault(path, line)
        if node.tag not in _PLAIN_TAGS:
            self._complain(line, path, f"the tag {node.tag} means nothing here: remove it")
            return None
        if id(node) in self._open:
            self._complain(line, path, "contains itself through an alias")
            return None
        self._open.add(id(node))
        try:
            return self._inside(node, path)
        finally:
            self._open.discard(id(node))

    def _inside(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, index)) for index, child in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._duplicates(node, path)
        self._loader.flatten_mapping(node)  # `<<: *anchor`
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.tag.endswith(":str"):
                self._complain(key_node.start_mark.line + 1, path, f"the key {key!s:.60} is no text: put it in quotes")
                continue
            self._document.lines[(*path, key)] = key_node.start_mark.line + 1
            result[key] = self.value(value_node, (*path, key))
        return result

    def _duplicates(self, node: yaml.MappingNode, path: Path) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                continue
            if key_node.value in first:
                text = f"stands twice, in line {first[key_node.value]} as well: remove one"
                self._complain(line, (*path, key_node.value), text)
            first.setdefault(key_node.value, line)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ValueError, OverflowError):
            self._complain(node.start_mark.line + 1, path, "can not be read: put it in quotes if it is text")
            return None

    def _complain(self, line: int, path: Path, text: str) -> None:
        self._document.complaints.append(Complaint(line, path, text))


def _syntax(error: yaml.YAMLError, text: str) -> Complaint:
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        return Complaint(line, (), f"holds the character {error.character!r}, which no text file has")
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else 1
    problem = str(getattr(error, "problem", None) or error)
    if "'\\t'" in problem:
        return Complaint(line, (), "a tab can not indent: use spaces")
    if "single document" in str(getattr(error, "context", "")):
        return Complaint(line, (), "holds a second document after `---`: keep one")
    return Complaint(line, (), f"is no valid YAML: {problem}")
