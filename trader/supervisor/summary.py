"""The service in one line for systemd, and in one document for the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from trader.clock import boottime_ns, format_utc
from trader.codes import ServiceState, WorkerState, halt_names
from trader.config.sections import Config
from trader.errors import TraderError
from trader.state.reader import Book, StateReader
from trader.supervisor.board import is_live
from trader.supervisor.judge import Verdict
from trader.supervisor.station import Station


def read_book(reader: StateReader) -> Book | None:
    """Return account and positions, or None while the engine has none to show."""
    try:
        return reader.book()
    except TraderError:
        return None


def status_line(state: ServiceState, config: Config, book: Book | None, troubles: Iterable[str]) -> str:
    """Return what `systemctl status` shows.

    Parameters
    ----------
    state : ServiceState
        State of the service.
    config : Config
        The configuration in force.
    book : Book or None
        Account and positions.
    troubles : iterable of str
        What is not as it should be; shown first.

    Returns
    -------
    str
        One line.
    """
    parts = [state.name.lower(), "LIVE" if is_live(config) else "paper", *troubles]
    if book is not None:
        account = book.account
        parts.append(f"equity {float(account['equity']):.2f} {config.quote}")
        count = int(account["open_positions"])
        parts.append(f"{count} position" + ("" if count == 1 else "s"))
        if halts := halt_names(int(account["halt_mask"])):
            parts.append("entries halted: " + " ".join(halts))
    return ", ".join(parts)


def troubles(stations: Iterable[Station], fallback: Path | None) -> list[str]:
    """Return what is not as it should be, in a few words each.

    Parameters
    ----------
    stations : iterable of Station
        The workers.
    fallback : Path or None
        The file that the service fell back on.
    """
    found = [] if fallback is None else [f"REDUCE-ONLY on {fallback}"]
    for station in stations:
        if station.state is not WorkerState.READY:
            found.append(f"{station.role} {station.state.name.lower()}")
            if station.role == "monitor":
                found.append("entries halted")
        elif station.verdict is not None:
            found += [f"{station.role} {text}" for text in _complaints(station.verdict)]
    return found


def _complaints(verdict: Verdict) -> list[str]:
    found = [] if verdict.progressing else ["does not progress"]
    return found if verdict.fed else [*found, "gets no market data"]


def worker_document(station: Station) -> dict[str, Any]:
    """Return one worker's row."""
    verdict = station.verdict
    return {
        "role": station.role,
        "state": station.state.name.lower(),
        "pid": station.pid,
        "generation": station.generation,
        "restarts": station.restarts,
        "exit_code": station.exit_code,
        "alive": verdict.alive if verdict else None,
        "progressing": verdict.progressing if verdict else None,
        "fed": verdict.fed if verdict else None,
        "beat_age_s": round(verdict.beat_age_s, 3) if verdict else None,
        "info": station.info,
    }


def account_document(book: Book | None) -> dict[str, Any] | None:
    """Return the account's main figures; NaN becomes null, which JSON has."""
    if book is None:
        return None
    account = book.account
    names = ("cash", "equity", "unrealised_pnl", "realised_pnl", "drawdown_frac", "gross_exposure")
    figures: dict[str, Any] = {}
    for name in names:
        value = float(account[name])
        figures[name] = value if math.isfinite(value) else None
    figures["open_positions"] = int(account["open_positions"])
    figures["round_trips"] = int(account["round_trips"])
    figures["halts"] = halt_names(int(account["halt_mask"]))
    figures["market_time"] = format_utc(int(account["event_ns"])) if account["event_ns"] else None
    return figures


def status_document(
    *,
    state: ServiceState,
    config: Config,
    epoch: int,
    run_id: str,
    started_boot_ns: int,
    reloads: int,
    rejected: int,
    reduce_only: str | None,
    stations: Iterable[Station],
    book: Book | None,
) -> dict[str, Any]:
    """Return the answer to the command `status`.

    Parameters
    ----------
    state : ServiceState
        State of the service.
    config : Config
        The configuration in force.
    epoch : int
        Its number.
    run_id : str
        Name of this run.
    started_boot_ns : int
        When the service was started [CLOCK_BOOTTIME ns].
    reloads : int
        Reloads that came into force.
    rejected : int
        Reloads that did not.
    reduce_only : str or None
        Why nothing may be opened, when the service fell back on its last good configuration.
    stations : iterable of Station
        The workers.
    book : Book or None
        Account and positions.

    Returns
    -------
    dict
        Ready for JSON.
    """
    return {
        "state": state.name.lower(),
        "mode": "live" if is_live(config) else "paper",
        "instance": config.instance,
        "pid": os.getpid(),
        "run_id": run_id,
        "uptime_s": round((boottime_ns() - started_boot_ns) / 1e9, 3),
        "config_epoch": epoch,
        "reloads": reloads,
        "reloads_rejected": rejected,
        "reduce_only": reduce_only,
        "workers": [worker_document(station) for station in stations],
        "account": account_document(book),
    }
