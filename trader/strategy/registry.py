"""The registry: strategies by name, by package.module:Class or by file.py:Class, built and bound to slots.

Names are ours, or those that other people's packages offer as entry points of the group `trader.strategies`.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from trader.config.sections import StrategyConfig
from trader.errors import ConfigError, StrategyError
from trader.strategy.base import Strategy

#: strategies that come with trader; imported when one is used, TA-Lib takes 0.1 s
REGISTERED = {
    "simple_rsi": "trader.strategy.simple_rsi:SimpleRSIStrategy",
    "ema_trend": "trader.strategy.ema_trend:EmaTrendStrategy",
    "bollinger_breakout": "trader.strategy.bollinger_breakout:BollingerBreakoutStrategy",
    "donchian_atr": "trader.strategy.donchian_atr:DonchianAtrStrategy",
    "ensemble": "trader.strategy.ensemble:EnsembleStrategy",
}

#: those that are asked about the whole market at once, and take their time
ADVISED = {"llm": "trader.strategy.llm.strategy:LlmStrategy"}

#: where other people's packages offer theirs, as in `mean_machine = "their_package.module:Class"`
ENTRY_POINTS = "trader.strategies"


@dataclass(frozen=True, slots=True)
class Bound:
    """A strategy with the slots it is asked for."""

    strategy: Strategy
    name: str  #: unique among the configured ones; kept with decisions and positions
    slots: tuple[int, ...]  #: ascending


def create(configs: Sequence[StrategyConfig], symbols: Sequence[str], timeframe: str) -> tuple[Bound, ...]:
    """Build every configured strategy.

    Parameters
    ----------
    configs : sequence of StrategyConfig
        Section `strategies`.
    symbols : sequence of str
        Symbols by slot.
    timeframe : str
        Timeframe of the market's candles.

    Returns
    -------
    tuple of Bound
        In the order of the section.

    Raises
    ------
    ConfigError
        Naming every entry that is wrong, with the nearest name there is.
    StrategyError
        When a strategy's own code breaks while it is imported or built.
    """
    bound: list[Bound] = []
    problems: list[str] = []
    for i, config in enumerate(configs):
        try:
            strategy = build(config.use, config.params)
            slots = _slots(strategy, config, symbols, timeframe)
            _bind(strategy, timeframe)
        except ConfigError as error:
            problems += [f"strategies.{i}.{line}" for line in str(error).splitlines()]
        else:
            bound.append(Bound(strategy, _unique_name(strategy.name, bound), slots))
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(bound)


def bind_built(strategies: Sequence[Strategy], symbols: Sequence[str], timeframe: str) -> tuple[Bound, ...]:
    """Bind strategies that are built already to the slots of their symbols.

    Parameters
    ----------
    strategies : sequence of Strategy
        Each for its own symbol, or for all.
    symbols : sequence of str
        Symbols by slot.
    timeframe : str
        Timeframe of the market's candles.

    Raises
    ------
    ConfigError
        When one is for another symbol or timeframe.
    """
    bound: list[Bound] = []
    for strategy in strategies:
        slots = _slots(strategy, StrategyConfig(), symbols, timeframe)
        _bind(strategy, timeframe)
        bound.append(Bound(strategy, _unique_name(strategy.name, bound), slots))
    return tuple(bound)


def build(use: str, params: dict[str, Any]) -> Strategy:
    """Build one strategy.

    Parameters
    ----------
    use : str
        A registered name, package.module:Class or file.py:Class.
    params : dict
        Arguments of the class.

    Raises
    ------
    ConfigError
        When there is no such strategy, or it does not take these arguments.
    StrategyError
        When the strategy's own code breaks while it is imported or built.
    """
    kind = load_class(use)
    _refuse_unknown(kind, params)
    try:
        strategy = kind(**params)
    except ConfigError as error:  # of a strategy that is made of others, and says which one
        raise ConfigError("\n".join(f"params.{line}" for line in str(error).splitlines())) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"params: {error}") from error
    except Exception as error:
        raise StrategyError(f"{use}: raised {type(error).__name__} when it was built: {error}") from error
    if not (isinstance(strategy.lookback_bars, int) and strategy.lookback_bars > 0):
        raise StrategyError(f"{use}: lookback_bars must be a whole number above 0, was {strategy.lookback_bars!r}")
    return strategy


def load_class(use: str) -> type[Strategy]:
    """Return the class that a name stands for.

    Parameters
    ----------
    use : str
        A registered name, package.module:Class or file.py:Class.

    Raises
    ------
    ConfigError
        When there is no such strategy.
    StrategyError
        When its module breaks while it is imported.
    """
    target = _target(use)
    module_name, colon, class_name = target.rpartition(":")
    if not (colon and module_name and class_name):
        known = (*REGISTERED, *ADVISED, *_installed())
        raise ConfigError(f"use: there is no strategy {use!r}; {_nearest(use, known)}, or package.module:Class")
    module = _import_file(Path(module_name)) if module_name.endswith(".py") else _import(module_name)
    kind = getattr(module, class_name, None)
    if kind is None:
        names = [name for name, one in vars(module).items() if _is_strategy(one)]
        raise ConfigError(f"use: {module_name} has no class {class_name!r}; {_nearest(class_name, names)}")
    if not _is_strategy(kind):
        raise ConfigError(f"use: {target} is no class derived from trader.strategy.base.Strategy")
    if inspect.isabstract(kind):
        raise ConfigError(f"use: {target} lacks {', '.join(sorted(kind.__abstractmethods__))}")
    strategy: type[Strategy] = kind
    return strategy


def entry_of(strategy: object) -> dict[str, Any]:
    """Return the entry of section `strategies` that builds a strategy again, in another process or after a restart.

    Parameters
    ----------
    strategy : Strategy
        Built by its own class.

    Raises
    ------
    ConfigError
        When its class can't be found by another process, or an argument is nothing that a configuration can hold.
    """
    if not isinstance(strategy, Strategy):
        raise ConfigError(f"strategies: {strategy!r} is no strategy: derive its class from trader.Strategy")
    kind = type(strategy)
    target = f"{kind.__module__}:{kind.__qualname__}"
    ours = {place: name for name, place in (REGISTERED | ADVISED).items()}
    params = {name: _storable(target, name, value) for name, value in _arguments(strategy).items()}
    return {"use": ours.get(target) or _findable(kind, target), "params": params}


def _arguments(strategy: Strategy) -> Mapping[str, Any]:
    fields = getattr(strategy, "__dataclass_fields__", {})  # a dataclass gets its constructor later than others
    if fields:
        return {name: getattr(strategy, name) for name, field in fields.items() if field.init}
    return {name: value for name, value in strategy.built_with.items() if value is not None}


def _findable(kind: type[Strategy], target: str) -> str:
    """Return how another process finds a class: by its module, or by the script that it stands in."""
    if "." in kind.__qualname__:
        raise ConfigError(f"strategies: {target} is made inside of a function or class: put it at the top of a module")
    if kind.__module__ != "__main__":
        return target
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None or not Path(script).exists():
        raise ConfigError(
            f"strategies: {kind.__qualname__} was made in an interactive session, where no other process finds it: "
            "put it into a file and import it from there"
        )
    return f"{Path(script).absolute()}:{kind.__qualname__}"


def _storable(target: str, name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_storable(target, name, one) for one in value]
    if isinstance(value, dict):
        return {str(key): _storable(target, name, one) for key, one in value.items()}
    raise ConfigError(
        f"strategies: {target}: the argument {name}={value!r} can't travel to another process: numbers, texts, lists "
        "and dicts of them can"
    )


# what stands behind a name: ours, or a package's that is installed beside us
def _target(use: str) -> str:
    if use in REGISTERED or use in ADVISED or ":" in use:
        return REGISTERED.get(use) or ADVISED.get(use, use)
    offers = _installed().get(use, ())
    if len(offers) > 1:
        choice = ", ".join(sorted(one.value for one in offers))
        raise ConfigError(f"use: {use!r} is offered by several packages; write which one: {choice}")
    return offers[0].value if offers else use


@lru_cache(maxsize=1)
def _installed() -> dict[str, tuple[EntryPoint, ...]]:
    offers: dict[str, tuple[EntryPoint, ...]] = {}
    for one in entry_points(group=ENTRY_POINTS):
        if one.value not in [other.value for other in offers.get(one.name, ())]:
            offers[one.name] = (*offers.get(one.name, ()), one)
    return offers


# named by its content: a file that was edited is a new module on the next reload, and never a stale cache
def _import_file(path: Path) -> object:
    try:
        source = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"use: there is no file {path}") from error
    except OSError as error:
        raise ConfigError(f"use: {path} can not be read: {error.strerror or error}") from error
    digest = hashlib.sha256(str(path).encode() + b"\0" + source).hexdigest()[:16]
    name = f"trader_strategy_file_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)  # noqa: S102 - the owner's own strategy
    except Exception as error:
        del sys.modules[name]
        raise StrategyError(f"{path}: raised {type(error).__name__} when it was imported: {error}") from error
    return module


def _bind(strategy: Strategy, timeframe: str) -> None:
    try:
        strategy.bind(timeframe)
    except ValueError as error:
        raise ConfigError(f"params: {error}") from error


def _import(name: str) -> object:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # the module itself or a package above it; anything else is missing inside of it
        if error.name is not None and (name + ".").startswith(error.name + "."):
            raise ConfigError(f"use: there is no module {name}") from error
        raise StrategyError(f"{name}: can not be imported: {error}") from error
    except Exception as error:
        raise StrategyError(f"{name}: raised {type(error).__name__} when it was imported: {error}") from error


def _is_strategy(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Strategy)


def _refuse_unknown(kind: type[Strategy], params: dict[str, Any]) -> None:
    parameters = inspect.signature(kind).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return
    unknown = [
        f"params.{name}: unknown; {_nearest(name, tuple(parameters))}" for name in params if name not in parameters
    ]
    if unknown:
        raise ConfigError("\n".join(unknown))


def _slots(strategy: Strategy, config: StrategyConfig, symbols: Sequence[str], timeframe: str) -> tuple[int, ...]:
    if strategy.timeframe not in (None, timeframe):
        raise ConfigError(f"params.timeframe: {strategy.timeframe}, but market.timeframe is {timeframe}")
    wanted = set(symbols if config.symbols is None else config.symbols)
    missing = [
        f"symbols: {one} is not in market.symbols; {_nearest(one, symbols)}" for one in sorted(wanted - {*symbols})
    ]
    if strategy.symbol is not None:
        if strategy.symbol not in symbols:
            missing.append(
                f"params.symbol: {strategy.symbol} is not in market.symbols; {_nearest(strategy.symbol, symbols)}"
            )
        elif strategy.symbol not in wanted:
            missing.append(f"params.symbol: {strategy.symbol} is not among the strategy's symbols")
        wanted = {strategy.symbol}
    if missing:
        raise ConfigError("\n".join(missing))
    return tuple(slot for slot, symbol in enumerate(symbols) if symbol in wanted)


def _unique_name(name: str, bound: Sequence[Bound]) -> str:
    taken = {one.name for one in bound}
    if name not in taken:
        return name
    return next(f"{name}-{i}" for i in range(2, len(taken) + 3) if f"{name}-{i}" not in taken)


def _nearest(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, names, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"there are {', '.join(names)}" if names else "there are none"
