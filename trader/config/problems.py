"""What is wrong with a configuration, in words an owner can act on."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from trader.config.document import Path
from trader.config.sections import Config, Section
from trader.errors import ConfigError

#: parts of a key's name that make its value nobody's business
SECRET_WORDS = (
    "secret",
    "token",
    "password",
    "passphrase",
    "apikey",
    "api_key",
    "privatekey",
    "private_key",
    "credential",
)

#: patterns of `sections`, in words
_PATTERN_TEXT = {
    r"^[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?$": "1 to 16 lower-case letters, digits and inner dashes",
    r"^[A-Z0-9]{2,12}$": "2 to 12 capital letters and digits, as in USDT",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; prints as `FILE:LINE: key.path: what is wrong`."""

    file: str
    line: int  #: 1-based
    key: str  #: dotted path; empty: the file as a whole
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (f"{self.file}:{self.line}", self.key, self.text) if part)


class ConfigErrors(ConfigError):
    """The configuration is not valid."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.key)))
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigErrors], tuple[tuple[Problem, ...]]]:
        # the default would hand the joined text to __init__ after a trip through a pipe
        return type(self), (self.problems,)


def dotted(path: Path) -> str:
    """Return a path as an owner writes it: strategies.0.params."""
    return ".".join(map(str, path))


def is_secret(path: Path) -> bool:
    """Tell whether the value at a path must never be shown."""
    return any(word in str(part).lower() for part in path for word in SECRET_WORDS)


def section_at(path: Path) -> type[Section] | None:
    """Return the model that holds the keys at a path, or None where keys are free."""
    model: type[Section] | None = Config
    annotation: Any = Config
    for part in path:
        if model is not None:
            info = model.model_fields.get(str(part))
            if info is None:
                return None
            annotation = info.annotation
        else:
            annotation = next(iter(_element_types(annotation)), None)
        model = _section_of(annotation)
    return model


def _section_of(annotation: Any) -> type[Section] | None:
    for candidate in _alternatives(annotation):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return get_args(annotation)
    return (annotation,)


def _element_types(annotation: Any) -> Iterable[Any]:
    for candidate in _alternatives(annotation):
        origin, arguments = get_origin(candidate), get_args(candidate)
        if origin is tuple:
            yield arguments[0]
        elif origin is dict:
            yield arguments[1]


def describe(error: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in our words.

    Parameters
    ----------
    error : mapping
        An item of `ValidationError.errors()`.

    Returns
    -------
    str
        What is wrong, with the value where it is no secret.
    """
    path: Path = error["loc"]
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind == "extra_forbidden":
        return unknown_key(path)
    if kind == "value_error":
        return str(context["error"])
    words = _TEXT.get(kind)
    text = words(path, context) if words is not None else str(error["msg"])
    return text if is_secret(path) or kind in _NO_VALUE else f"{text}, was {_shown(error.get('input'))}"


def unknown_key(path: Path) -> str:
    """Return what to say about a key that no model has, with the nearest one that exists."""
    key, parent = str(path[-1]), path[:-1]
    section = section_at(parent)
    valid = list(section.model_fields) if section is not None else []
    elsewhere = _everywhere()
    if key in elsewhere:
        return f"unknown key; did you mean {elsewhere[key]}?"
    near = difflib.get_close_matches(key, valid, n=1)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    far = difflib.get_close_matches(key, list(elsewhere), n=1, cutoff=0.8)
    if far:
        return f"unknown key; did you mean {elsewhere[far[0]]}?"
    if not valid:
        return "unknown key; this section has no keys"
    return f"unknown key; valid here: {', '.join(valid)}"


def _everywhere() -> dict[str, str]:
    """Return the full path of every key of every section, by its last part."""
    paths: dict[str, str] = {}
    for name in Config.model_fields:
        section = section_at((name,))
        if section is not None:
            paths |= {inner: f"{name}.{inner}" for inner in section.model_fields}
    return paths | {name: name for name in Config.model_fields}


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _bound(words: str, name: str) -> Callable[[Path, Mapping[str, Any]], str]:
    def text(path: Path, context: Mapping[str, Any]) -> str:
        hint = " (a fraction: 0.05 is 5 %)" if name in ("le", "lt") and str(path[-1]).endswith("_frac") else ""
        return f"must be {words} {context[name]:g}{hint}"

    return text


def _choice(path: Path, context: Mapping[str, Any]) -> str:
    section = section_at(path[:-1])
    info = section.model_fields.get(str(path[-1])) if section is not None else None
    return f"must be one of {', '.join(map(str, get_args(info.annotation)))}" if info else str(context["expected"])


def _pattern(_path: Path, context: Mapping[str, Any]) -> str:
    return f"must be {_PATTERN_TEXT.get(context['pattern'], context['pattern'])}"


def _say(text: str) -> Callable[[Path, Mapping[str, Any]], str]:
    return lambda _path, _context: text


_NO_VALUE = frozenset({"too_short", "string_too_short"})
_TEXT: dict[str, Callable[[Path, Mapping[str, Any]], str]] = {
    "int_type": _say("must be a whole number"),
    "int_parsing": _say("must be a whole number"),
    "int_from_float": _say("must be a whole number"),
    "int_parsing_size": _say("must be a smaller whole number"),
    "float_type": _say("must be a number"),
    "float_parsing": _say("must be a number"),
    "finite_number": _say("must be a finite number"),
    "bool_type": _say("must be true or false"),
    "bool_parsing": _say("must be true or false"),
    "string_type": _say("must be text (put it in quotes)"),
    "string_too_short": _say("must not be empty"),
    "string_pattern_mismatch": _pattern,
    "literal_error": _choice,
    "tuple_type": _say("must be a list, as in [a, b]"),
    "too_short": _say("must not be empty"),
    "dict_type": _say("must be a section of keys and values"),
    "model_type": _say("must be a section of keys and values"),
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("at most", "le"),
}
