"""One line after each death of the service, and orders taken back that nobody looks after.

Run by systemd as ExecStopPost (`python -m trader.supervisor.post_mortem`), which tells by the environment how the
service ended, and by the alert unit with `--alert UNIT` when the service stays down. What it writes goes to the
journal with a priority in front (sd-daemon(3)).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trader.errors import EXIT_ALREADY_RUNNING, EXIT_OK, ConfigError, TraderError

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.state.paths import InstancePaths

ALERT, ERROR, WARNING = "<1>", "<3>", "<4>"
TIMEOUT_S = 30.0


def main(arguments: list[str]) -> int:
    """Write the line; nothing that goes wrong here may hide how the service ended."""
    unit = arguments[1] if arguments[:1] == ["--alert"] and len(arguments) > 1 else None
    result = os.environ.get("MONITOR_SERVICE_RESULT" if unit else "SERVICE_RESULT", "unknown")
    if unit is None and result == "success":
        return EXIT_OK
    config = _config()
    paths = _paths(config)
    words = [_death(result, unit), _account(paths)]
    if unit is None:
        words.append(_take_back(paths, config))
    _say(ALERT if unit else ERROR, "; ".join(word for word in words if word))
    return EXIT_OK


def _say(priority: str, text: str) -> None:
    sys.stdout.write(f"{priority}{text}\n")
    sys.stdout.flush()


def _death(result: str, unit: str | None) -> str:
    prefix = "MONITOR_" if unit else ""
    code, status = os.environ.get(f"{prefix}EXIT_CODE", ""), os.environ.get(f"{prefix}EXIT_STATUS", "")
    how = f" ({code} {status})" if code else ""
    if unit:
        return f"{unit} has failed and stays down: {result}{how}; see journalctl -u {unit}, then systemctl start {unit}"
    return f"post-mortem: the service ended by {result}{how}"


def _config() -> Config | None:
    from trader.config.loading import load

    named = os.environ.get("TRADER_CONFIG")
    try:
        return load(Path(named) if named else None)
    except ConfigError:
        return None


def _paths(config: Config | None) -> InstancePaths:
    from trader.state.paths import find

    return find(None, config)


def _account(paths: InstancePaths) -> str:
    """Return what was left open, as far as the ledger knows."""
    from trader.clock import format_utc
    from trader.ledger.reader import LedgerReader
    from trader.units import plain

    if not paths.ledger.exists():
        return "there is no ledger yet"
    try:
        with LedgerReader(paths.ledger) as reader, reader.snapshot():
            account, quote = reader.account(), reader.meta()["quote"]
            held = [f"{position.symbol} {plain(position.holding.quantity)}" for position in reader.positions()]
            flying = [order.client_order_id for order in reader.orders(live=True)]
    except TraderError as error:
        return f"the ledger can not be read: {error}"
    if account is None:
        return "nothing was traded yet"
    return (
        f"equity {float(account['equity']):.2f} {quote} at {format_utc(int(account['event_ns']))}, "
        f"open: {', '.join(held) or 'no position'}, in flight: {', '.join(flying) or 'no order'}"
    )


def _take_back(paths: InstancePaths, config: Config | None) -> str:
    """Cancel entries in flight; a replayed market waits for the engine, and so do its orders."""
    if config is None or config.market.source == "replay":
        return ""
    from trader.supervisor.errand import Errand, ErrandRefused
    from trader.supervisor.last_resort import CANCEL_ENTRIES

    errand = Errand("the last resort", CANCEL_ENTRIES, paths, config)
    if not errand.wait(TIMEOUT_S):
        errand.kill()
    try:
        canceled = errand.result()["canceled"]
    except ErrandRefused as error:
        if error.exit_code == EXIT_ALREADY_RUNNING:
            return "another engine runs on this data folder, nothing was touched"
        return f"entries in flight could not be canceled: {error}"
    except TraderError as error:
        return f"entries in flight could not be canceled: {error}"
    return f"canceled: {', '.join(canceled)}" if canceled else ""


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (TraderError, OSError) as error:
        _say(WARNING, f"post-mortem: {error}")
        sys.exit(EXIT_OK)
