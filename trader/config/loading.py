"""Reading the configuration: every problem at once, each with its file and line.

A service that starts with half of its limits misread is worse than one that does not start:
nothing is guessed, nothing unknown is ignored.
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trader.config import checks
from trader.config.document import Document, parse
from trader.config.document import Path as KeyPath
from trader.config.problems import ConfigErrors, Problem, describe, dotted, section_at
from trader.config.sections import Config, StrategyConfig
from trader.errors import ConfigError

MAX_BYTES = 1 << 20


def load(path: Path | None) -> Config:
    """Read and check a configuration file.

    Parameters
    ----------
    path : Path or None
        The file; None: the built-in defaults.

    Returns
    -------
    Config
        The configuration, valid as a whole.

    Raises
    ------
    ConfigError
        When the file can not be read; `ConfigErrors` with every problem when it is not valid.
    """
    if path is None:
        return Config()
    return parse_config(read(path), str(path))


def problems(path: Path) -> tuple[Problem, ...]:
    """Return everything that is wrong with a readable configuration file; empty when it is valid.

    Raises
    ------
    ConfigError
        When the file can not be read at all.
    """
    try:
        load(path)
    except ConfigErrors as error:
        return error.problems
    return ()


def read(path: Path) -> bytes:
    """Return the bytes of a configuration file, read once.

    Raises
    ------
    ConfigError
        When there is no such file, or it can not be a configuration.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is no regular file")
        if status.st_size > MAX_BYTES:
            raise ConfigError(f"{path}: has {status.st_size} bytes; a configuration has at most {MAX_BYTES}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can not be read: {reason}") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: grew over {MAX_BYTES} bytes while it was read")
    return content


def parse_config(content: bytes, name: str, folder: Path | None = None) -> Config:
    """Return the configuration that a file's bytes hold.

    Parameters
    ----------
    content : bytes
        The file, as read at one moment: a reload validates and applies the same bytes.
    name : str
        What problems call the file: its path.
    folder : Path, optional
        Where the owner's own strategies are; None: the file's folder.

    Returns
    -------
    Config
        The configuration, valid as a whole.

    Raises
    ------
    ConfigErrors
        With every problem, in the order of the file's lines.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigErrors([Problem(name, line, "", f"is not UTF-8 (byte 0x{content[error.start]:02x})")]) from None
    document = parse(text)
    found = [Problem(name, complaint.line, dotted(complaint.path), complaint.text) for complaint in document.complaints]
    config: Config | None = None
    if isinstance(document.data, dict):
        config, more = _validate(document, name)
        found += more
    elif not found:
        found.append(_no_settings(document, name))
    if found or config is None:
        raise ConfigErrors(found)
    return _anchored(config, Path(name).absolute().parent if folder is None else folder)


# a strategy of the owner's own lies beside the file that names it, wherever the service is started
def _anchored(config: Config, folder: Path) -> Config:
    entries = tuple(
        StrategyConfig.model_validate(_with_anchored_uses(entry.model_dump(), folder)) for entry in config.strategies
    )
    return config if entries == config.strategies else config.model_copy(update={"strategies": entries})


def _with_anchored_uses(data: Any, folder: Path) -> Any:
    if isinstance(data, list | tuple):
        return [_with_anchored_uses(one, folder) for one in data]
    if not isinstance(data, dict):
        return data
    made = {key: _with_anchored_uses(value, folder) for key, value in data.items()}
    use = made.get("use")
    file, colon, _ = use.rpartition(":") if isinstance(use, str) else ("", "", "")
    if colon and file.endswith(".py"):
        made["use"] = str(folder / Path(file).expanduser()) + str(use)[len(file) :]
    return made


def _no_settings(document: Document, name: str) -> Problem:
    # an empty file is what a crashed editor leaves; it must not mean "all defaults"
    if document.data is None:
        return Problem(name, 1, "", "holds no settings; `instance: main` alone means all defaults")
    return Problem(name, document.line(()), "", "must hold keys and values, as in `instance: main`")


def _validate(document: Document, name: str) -> tuple[Config | None, list[Problem]]:
    data = _without_empty_sections(document.data)
    config, errors = _model(data)
    wrong = {error["loc"] for error in errors}
    # a list whose only entry is wrong is not empty, whatever pydantic says about it
    errors = [
        error
        for error in errors
        if not (error["type"] == "too_short" and any(_inside(other, error["loc"]) for other in wrong))
    ]
    found = [_problem(document, name, error["loc"], describe(error)) for error in errors]
    complained = {complaint.path for complaint in document.complaints}
    if errors:
        config, _ = _model(_pruned(data, wrong))
    if config is not None:
        ignored = frozenset(wrong | complained)
        found += [_problem(document, name, item.path, item.text) for item in checks.findings(config, ignored)]
    return config, found


def _problem(document: Document, name: str, path: KeyPath, text: str) -> Problem:
    return Problem(name, document.line(path), dotted(path), text)


def _model(data: dict[str, Any]) -> tuple[Config | None, list[Any]]:
    try:
        return Config.model_validate(data), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _inside(path: KeyPath, parent: KeyPath) -> bool:
    return len(path) > len(parent) and path[: len(parent)] == parent


def _without_empty_sections(data: dict[str, Any]) -> dict[str, Any]:
    # a section with all its keys commented out reads as null, and means its defaults
    return {key: value for key, value in data.items() if value is not None or section_at((key,)) is None}


def _pruned(data: Any, wrong: set[KeyPath], path: KeyPath = ()) -> Any:
    """Return the data without the paths that are wrong, so that the rest can still be checked."""
    if isinstance(data, dict):
        return {key: _pruned(value, wrong, (*path, key)) for key, value in data.items() if (*path, key) not in wrong}
    if isinstance(data, list):
        return [
            _pruned(value, wrong, (*path, index)) for index, value in enumerate(data) if (*path, index) not in wrong
        ]
    return data


def strategy_files(config: Config) -> dict[str, str]:
    """Return a fingerprint of each file that strategies are taken from, by path; "" for one that can not be read.

    Parameters
    ----------
    config : Config
        As it was loaded: its files are absolute.
    """
    return {
        path: _fingerprint(Path(path)) for path in sorted(_files_in([one.model_dump() for one in config.strategies]))
    }


def _files_in(data: Any) -> set[str]:
    if isinstance(data, list | tuple):
        return set().union(*map(_files_in, data))
    if not isinstance(data, dict):
        return set()
    found = _files_in(list(data.values()))
    file = str(data.get("use", "")).rpartition(":")[0]
    return found | {file} if file.endswith(".py") else found


def _fingerprint(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError:
        return ""


def located(path: Path, text: str) -> tuple[Problem, ...]:
    """Give lines to complaints that were found later, by whoever reads a section.

    Parameters
    ----------
    path : Path
        The file that was loaded.
    text : str
        One complaint a line, each beginning with its key: "strategies.0.use: no such strategy".

    Returns
    -------
    tuple of Problem
        One for each line of the text.
    """
    document = parse(read(path).decode("utf-8-sig", "replace"))
    found = []
    for complaint in text.splitlines():
        key, colon, words = complaint.partition(": ")
        if not colon or " " in key:
            key, words = "", complaint
        parts: KeyPath = tuple(int(part) if part.isdigit() else part for part in key.split(".")) if key else ()
        found.append(Problem(str(path), document.line(parts), key, words))
    return tuple(found)
