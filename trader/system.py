"""The service, driven from Python: the same processes, the same files, the same safety as under systemd.

    system = AutonomousTradingSystem(strategies=[SimpleRSIStrategy(symbol="BTC/USDT", timeframe="1h")])
    asyncio.run(system.start())                # until SIGINT, SIGTERM or `await system.stop()`

Strategies travel to the engine by name and parameters, as they would from a configuration file, and that file is
what is written: `trader` commands, the dashboard and a restart find the same instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trader.errors import (
    EXIT_ALREADY_RUNNING,
    EXIT_CONFIG,
    EXIT_OK,
    AlreadyRunning,
    ConfigError,
    GaveUp,
    TraderError,
)

if TYPE_CHECKING:
    from trader.config.sections import Config
    from trader.state.paths import InstancePaths
    from trader.strategy.base import Strategy

#: the configuration that a system writes for its service
CONFIG_FILE = "system.yaml"

#: how long an orderly stop may take before it is made a disorderly one [s]
STOP_TIMEOUT_S = 75.0

#: Linux: the signal that a process gets when its parent has died
_PR_SET_PDEATHSIG = 1

#: keyword -> (section, key) of the configuration, and the keyword's default
_KEYWORDS: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "initial_capital": (("initial_capital",), 10_000.0),
    "loop_interval_seconds": (("engine", "loop_interval_seconds"), 180),
    "max_open_positions": (("risk", "max_open_positions"), 5),
    "min_confidence_threshold": (("risk", "min_confidence_threshold"), 0.7),
    "enable_trading": (("engine", "enable_trading"), False),
    "enable_dashboard": (("dashboard", "enable"), True),
    "dashboard_port": (("dashboard", "port"), 8080),
    "max_consecutive_errors": (("recovery", "max_consecutive_errors"), 5),
    "error_cooldown_seconds": (("recovery", "error_cooldown_seconds"), 300),
}


class AutonomousTradingSystem:
    """An autonomous trading service: supervised processes, paper trading unless told otherwise.

    Parameters
    ----------
    strategies : sequence of Strategy
        Asked in this order; their symbols and timeframe are those of the market unless `config` says otherwise.
    initial_capital : float
        Cash at the very start [quote].
    loop_interval_seconds : float
        Market seconds between two decision cycles.
    max_open_positions : int
        Positions at a time, at most.
    min_confidence_threshold : float
        Confidence that an entry must have, 0..1.
    enable_trading : bool
        Real orders; needs an exchange and credentials in `config`.
    log_dir, data_dir : str or Path
        Folders, relative to the current one.
    enable_dashboard : bool
        Serve the dashboard.
    dashboard_port : int
        Its port; 0: any free one.
    max_consecutive_errors : int
        Errors in a row that pause entries.
    error_cooldown_seconds : float
        How long they stay paused.
    config : mapping, str or Path, optional
        Everything else: a configuration as nested mappings, or the path of a file. What it says counts where a keyword
        was left at its default.

    Raises
    ------
    ConfigError
        When the configuration is not valid, with every problem, or contradicts a keyword.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy] = (),
        initial_capital: float = 10000.0,
        loop_interval_seconds: float = 180,
        max_open_positions: int = 5,
        min_confidence_threshold: float = 0.7,
        enable_trading: bool = False,  # noqa: FBT001, FBT002 - keywords of a published interface
        log_dir: str | Path = "logs",
        data_dir: str | Path = "data",
        enable_dashboard: bool = True,  # noqa: FBT001, FBT002
        dashboard_port: int = 8080,
        max_consecutive_errors: int = 5,
        error_cooldown_seconds: float = 300,
        config: Mapping[str, Any] | str | Path | None = None,
    ) -> None:
        given = {
            "initial_capital": initial_capital,
            "loop_interval_seconds": loop_interval_seconds,
            "max_open_positions": max_open_positions,
            "min_confidence_threshold": min_confidence_threshold,
            "enable_trading": enable_trading,
            "enable_dashboard": enable_dashboard,
            "dashboard_port": dashboard_port,
            "max_consecutive_errors": max_consecutive_errors,
            "error_cooldown_seconds": error_cooldown_seconds,
        }
        document = _document(config)
        _take_keywords(document, given)
        _take_strategies(document, strategies)
        document["data_dir"] = str(Path(data_dir).absolute())
        document.setdefault("logging", {})["dir"] = str(Path(log_dir).absolute())
        self._document = document
        self._config = _validated(document)
        self._folder = Path(data_dir).absolute()
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def config(self) -> Config:
        """The configuration that the service runs on."""
        return self._config

    @property
    def config_path(self) -> Path:
        """The file that holds it, for the `trader` commands."""
        return self._folder / CONFIG_FILE

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Run the service until it is stopped, or until its market has ended.

        Raises
        ------
        ConfigError
            When the service refuses its configuration.
        AlreadyRunning
            When another one holds the data folder.
        GaveUp
            When the engine died too often.
        TraderError
            When it failed in any other way.
        """
        if self._process is not None:
            raise AlreadyRunning("this system is running already; stop it first")
        self._stopping = False
        self._write_config()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "trader",
            "run",
            "--config",
            str(self.config_path),
            "--data-dir",
            str(self._folder),
            env=_environment(),
            # a Ctrl-C reaches this process, which passes it on once
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        if self._stopping:
            self._terminate()
        with _Signals(self._request_stop):
            exit_code = await self._process.wait()
        self._process = None
        self._judge(exit_code)

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Stop the service in order; returns when it has ended.

        Parameters
        ----------
        timeout_s : float
            After which it is killed: the ledger is made for that [s].
        """
        self._request_stop()
        process = self._process
        if process is None:
            return
        try:
            await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _request_stop(self) -> None:
        self._stopping = True
        self._terminate()

    def _terminate(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def _judge(self, exit_code: int) -> None:
        where = f"its log is in {self._document['logging']['dir']}"
        if exit_code == EXIT_OK or (self._stopping and exit_code == -signal.SIGKILL):
            return
        if exit_code == EXIT_CONFIG:
            raise ConfigError(f"the service refuses its configuration {self.config_path}; {where}")
        if exit_code == EXIT_ALREADY_RUNNING:
            raise AlreadyRunning(f"another service holds the data folder {self._folder}")
        if exit_code == GaveUp.exit_code:
            raise GaveUp(f"the service gave up; {where}")
        raise TraderError(f"the service has ended with {exit_code}; {where}")

    def _write_config(self) -> None:
        import yaml

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = yaml.safe_dump(self._document, sort_keys=False, allow_unicode=True)
        with tempfile.NamedTemporaryFile("w", dir=self._folder, delete=False, encoding="utf-8") as file:
            file.write(text)
        Path(file.name).replace(self.config_path)

    # -- looking -------------------------------------------------------------------------------

    def get_status(self) -> dict[str, Any]:
        """Return how the service is doing, from shared memory; the account also from the ledger when it is stopped.

        Returns
        -------
        dict
            `is_running`, `mode`, `uptime_seconds`, `uptime_formatted`, `loops`, `decisions`, `risk_stats`,
            `error_stats`, `health`, `strategies`, `workers`. Money in the quote currency, `_percent` in percent.
        """
        from trader.system_status import status

        return status(self._paths(), self._config)

    def get_performance_report(self) -> dict[str, Any]:
        """Return performance from ledger and metrics.

        Returns
        -------
        dict
            `summary` (`win_rate` and `max_drawdown` in percent), `recent_performance` (`1h`, `1d`, `7d`),
            `trading_activity`, `capital_stats`.
        """
        from trader.system_status import performance

        return performance(self._paths(), self._config)

    def _paths(self) -> InstancePaths:
        from trader.state.paths import find

        return find(self._folder, self._config)


# ---------------------------------------------------------------------------------- configuration


def _document(config: Mapping[str, Any] | str | Path | None) -> dict[str, Any]:
    """Return a configuration as nested dicts that may be changed."""
    if config is None:
        return {}
    if isinstance(config, Mapping):
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in config.items()}
    from trader.config.loading import load, read

    load(Path(config))  # reports every problem with its line
    import yaml

    return dict(yaml.safe_load(read(Path(config))) or {})


def _take_keywords(document: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Put the keywords into the document, unless it says otherwise and the keyword was left at its default."""
    for name, ((*sections, key), default) in _KEYWORDS.items():
        place = document
        for section in sections:
            place = place.setdefault(section, {})
        value = given[name]
        if key not in place:
            place[key] = value
        elif place[key] != value and value != default:
            where = ".".join((*sections, key))
            raise ConfigError(f"{name}={value!r} contradicts config {where}: {place[key]!r}; say it in one place")


def _take_strategies(document: dict[str, Any], strategies: Sequence[Strategy]) -> None:
    """Put strategies into the document by name and parameters, and their market with them."""
    if not strategies:
        return
    if document.get("strategies"):
        raise ConfigError("strategies were given as objects and in config: say it in one place")
    from trader.strategy.registry import entry_of

    document["strategies"] = [entry_of(strategy) for strategy in strategies]
    market = document.setdefault("market", {})
    symbols = list(dict.fromkeys(one.symbol for one in strategies if one.symbol is not None))
    if symbols and "symbols" not in market:
        market["symbols"] = symbols
    timeframes = sorted({one.timeframe for one in strategies if one.timeframe is not None})
    if len(timeframes) > 1:
        raise ConfigError(f"strategies want candles of {' and '.join(timeframes)}; one market has one timeframe")
    if timeframes and "timeframe" not in market:
        market["timeframe"] = timeframes[0]


def _validated(document: Mapping[str, Any]) -> Config:
    import yaml

    from trader.config.loading import parse_config

    return parse_config(yaml.safe_dump(dict(document), sort_keys=False).encode(), CONFIG_FILE)


# ---------------------------------------------------------------------------------------- process


def _environment() -> dict[str, str]:
    """Return the environment of the service: whatever can be imported here can be imported there."""
    paths = [os.path.abspath(path) for path in sys.path if not path or os.path.exists(path)]  # noqa: PTH100, PTH110
    kept = {name: value for name, value in os.environ.items() if name not in ("TRADER_CONFIG", "TRADER_DATA_DIR")}
    return kept | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def _die_with_parent() -> None:
    # an orderly stop, when the script that began the service is killed
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class _Signals:
    """SIGINT and SIGTERM stop the service while it runs, where this is the main thread."""

    def __init__(self, stop: Any) -> None:
        self._stop = stop
        self._taken: list[int] = []

    def __enter__(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):
                loop.add_signal_handler(number, self._stop)
                self._taken.append(number)

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in self._taken:
            loop.remove_signal_handler(number)
