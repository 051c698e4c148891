"""Commands that change what the service does; each waits for the service's answer."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from trader.cli.output import emit, warn
from trader.cli.place import instance_paths
from trader.errors import EXIT_FAILED, EXIT_OK, NotRunning, TraderError, UsageError

#: a reload may have to start a worker [s]
RELOAD_TIMEOUT_S = 180.0
COMMAND_TIMEOUT_S = 30.0


def pause(arguments: Namespace) -> int:
    """Stop opening positions."""
    result = _ask(arguments, "pause")
    emit(result, "paused: no new positions; exits go on. `trader resume` ends it", as_json=arguments.json)
    return EXIT_OK


def resume(arguments: Namespace) -> int:
    """Open positions again."""
    result = _ask(arguments, "resume")
    halts = result.get("halts") or []
    words = "resumed" if not halts else f"resumed, but entries are still halted: {', '.join(halts)}"
    emit(result, words, as_json=arguments.json)
    return EXIT_OK


def flatten(arguments: Namespace) -> int:
    """Pause, and close every position."""
    if not _agreed(arguments, _open_positions(arguments, None)):
        return EXIT_FAILED
    result = _ask(arguments, "flatten")
    emit(result, f"{_closing(result)}; no new positions until `trader resume`", as_json=arguments.json)
    return EXIT_OK


def close(arguments: Namespace) -> int:
    """Close the position in one symbol."""
    if not _agreed(arguments, _open_positions(arguments, arguments.symbol)):
        return EXIT_FAILED
    result = _ask(arguments, "close", {"symbol": arguments.symbol})
    emit(result, _closing(result), as_json=arguments.json)
    return EXIT_OK


def accept(arguments: Namespace) -> int:
    """Accept what differs from the venue."""
    where = f"in {arguments.symbol}" if arguments.symbol else "in all symbols"
    if not _agreed(arguments, f"accepts what differs from the venue {where}, and lets entries pass again", ""):
        return EXIT_FAILED
    result = _ask(arguments, "accept", {"symbol": arguments.symbol} if arguments.symbol else {})
    words = "\n".join(f"accepted: {note}" for note in result.get("accepted") or []) or "nothing differed"
    emit(result, words, as_json=arguments.json)
    return EXIT_OK


def reload(arguments: Namespace) -> int:
    """Have the configuration read anew."""
    result = _ask(arguments, "reload", {"wait": arguments.wait}, RELOAD_TIMEOUT_S)
    if arguments.wait:
        changed, restarted = result.get("changed") or [], result.get("restarted") or []
        lines = [*(f"in force: {change}" for change in changed), *(f"restarted: {role}" for role in restarted)]
        warnings = [f"warning: {warning}" for warning in result.get("warnings") or []]
        words = "\n".join([*(lines or ["nothing has changed"]), *warnings])
    else:
        words = "reload asked for; the log tells what became of it (or use --wait)"
    emit(result, words, as_json=arguments.json)
    return EXIT_OK


def _ask(
    arguments: Namespace, command: str, values: dict[str, Any] | None = None, timeout_s: float = COMMAND_TIMEOUT_S
) -> dict[str, Any]:
    from trader.process.control import request

    paths = instance_paths(arguments)
    try:
        return request(paths.control_socket, command, values, timeout_s)
    except NotRunning:
        raise NotRunning(f"no service runs on {paths.data_dir}: start it with `trader run`") from None


def _closing(result: dict[str, Any]) -> str:
    symbols = result.get("closing") or []
    return f"closing {', '.join(symbols)}" if symbols else "no position was open"


def _agreed(arguments: Namespace, what: str, how: str = " at the market") -> bool:
    if arguments.yes:
        return True
    if not sys.stdin.isatty():
        raise UsageError(f"{arguments.command} asks for confirmation, and there is no terminal: add --yes")
    sys.stderr.write(f"This {what}{how}. Go on? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    warn("nothing was done")
    return False


def _open_positions(arguments: Namespace, only: str | None) -> str:
    if arguments.yes:
        return ""
    from trader.state.reader import StateReader

    try:
        book = StateReader(instance_paths(arguments)).book()
        held = [name for name, slot in zip(book.symbols, book.slots, strict=True) if slot["quantity"] != 0]
    except TraderError:
        held = None  # the service will say what is wrong; the question does not need it
    if only is not None:
        return f"closes the position in {only}"
    if held is None:
        return "pauses, and closes all positions"
    return f"pauses, and closes {len(held)} position{'s' if len(held) != 1 else ''} ({', '.join(held) or 'none open'})"
