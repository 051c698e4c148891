"""The command line: every command, its options, and the function that carries it out.

Functions are named, not imported: `trader run` must have its signal handlers in place before the
slow imports, and `trader --help` needs none of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trader

_EPILOG = """\
environment: TRADER_CONFIG and TRADER_DATA_DIR stand in for --config and --data-dir.
exit codes: 0 done, 1 failed, 2 usage, 70 gave up, 75 already running, 78 configuration.
"""


def build() -> argparse.ArgumentParser:
    """Return the parser; `arguments.function` names the function as module:name."""
    parser = argparse.ArgumentParser(
        prog="trader",
        description="Trades crypto unattended; on paper until its owner says otherwise.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"trader {trader.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, function: str, words: str, *options: Callable[[argparse.ArgumentParser], None]) -> None:
        made = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.", allow_abbrev=False)
        made.set_defaults(function=f"trader.cli.{function}")
        _config(made)
        for option in options:
            option(made)

    command("run", "service:run", "run the service in the foreground", _data_dir)
    command("check", "service:check", "validate the configuration", _json)
    command("status", "look:status", "show the running service", _data_dir, _json)
    command("positions", "look:positions", "show open positions and their exit plans", _data_dir, _json)
    command("orders", "look:orders", "show orders, the newest first", _data_dir, _json, _limit, _symbol)
    words = "show decisions, newest first"
    command("decisions", "look:decisions", words, _data_dir, _json, _limit, _symbol, _since, _until, _acted)
    words = "tell the story of a decision: candles, signal, limits, order, fills, exit, result"
    command("explain", "story:explain", words, _decision, _data_dir, _json)
    command("pause", "act:pause", "stop opening positions; exits go on", _data_dir, _json)
    command("resume", "act:resume", "open positions again", _data_dir, _json)
    command("flatten", "act:flatten", "pause, and close all positions at the market", _data_dir, _json, _yes)
    command("close", "act:close", "close the position in one symbol at the market", _close, _data_dir, _json, _yes)
    words = "accept unexplained differences from the venue, which block entries until then"
    command("accept", "act:accept", words, _accept, _data_dir, _json, _yes)
    command("reload", "act:reload", "read the configuration anew", _data_dir, _json, _wait)
    command("report", "accounts:report", "report performance", _data_dir, _json, _html)
    command("verify", "accounts:verify", "audit ledger, shared state and venue against each other", _data_dir, _json)
    words = "trade candles of the past"
    command("backtest", "history:backtest", words, _data_dir, _candles, _json_file, _trades, _html)
    words = "try many values of configuration keys"
    command("sweep", "sweeps:sweep", words, _candles, _space, _json_file, _html)
    words = "prove that no signal looks ahead, and measure the warm-up"
    command("check-strategy", "strategies:check_strategy", words, _candles, _json, _cuts)
    words = "download candles; what is there already is kept, what is cut off goes on later"
    command("download", "download:download", words, _download, _json)
    command("doctor", "doctor:doctor", "examine the venue, the keys and this machine before trading", _data_dir, _json)
    command("token", "token:token", "show the token that the dashboard's buttons ask for", _data_dir, _json, _new)
    _llm(commands)
    command("schema", "service:schema", "print the configuration's JSON schema", _markdown)
    return parser


def _llm(commands: Any) -> None:
    words = "ask after the language model"
    made = commands.add_parser("llm", help=words, description="Ask after the language model.", allow_abbrev=False)
    actions = made.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("check", "make one cheap call and say what it has cost"),
        ("show", "show question, reply, checks and outcome of a decision"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        action.set_defaults(function=f"trader.cli.llm:{name}")
        for option in (_config, _data_dir, _json):
            option(action)
    words = "as in llm-20241103T120000000Z, or the number of a decision of the ledger"
    action.add_argument("decision", metavar="DECISION_ID", help=words)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; exits with 2 on a command line that makes no sense."""
    return build().parse_args(argv)


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (default: $TRADER_CONFIG)")


def _data_dir(parser: argparse.ArgumentParser) -> None:
    words = "folder that data_dir is relative to, or the data folder itself (default: $TRADER_DATA_DIR)"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=words)


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def _html(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page that stands alone as well")


def _candles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--candles", type=Path, metavar="DIR", help="folder of candle files (default: market.candles)")
    parser.add_argument("--symbols", type=_symbols, metavar="A,B", help="instead of market.symbols")
    parser.add_argument("--timeframe", metavar="T", help="instead of market.timeframe, as in 5m")
    parser.add_argument("--since", type=_time, metavar="TIME", help="first candle, UTC, as in 2024-01-03")
    parser.add_argument("--until", type=_time, metavar="TIME", help="end, exclusive, UTC")
    parser.add_argument(
        "--strategy", action="append", metavar="NAME", help="instead of strategies, with its defaults; may be repeated"
    )


def _download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exchange", metavar="ID", help="a ccxt id (default: market.exchange)")
    parser.add_argument("--symbols", type=_symbols, metavar="A,B", help="instead of market.symbols")
    parser.add_argument("--timeframe", metavar="T", help="instead of market.timeframe, as in 5m")
    words = "first candle, UTC, as in 2024-01-03"
    parser.add_argument("--since", type=_time, required=True, metavar="TIME", help=words)
    parser.add_argument("--until", type=_time, metavar="TIME", help="end, exclusive, UTC (default: now)")
    parser.add_argument("--candles", type=Path, metavar="DIR", help="folder of candle files (default: market.candles)")


def _space(parser: argparse.ArgumentParser) -> None:
    words = "values of a key to try: KEY=from:to:step or KEY=a,b,c, as in strategies.0.params.period=10:30:2"
    parser.add_argument("--set", action="append", required=True, metavar="KEY=VALUES", help=words)
    parser.add_argument("--random", type=_count, metavar="N", help="try N combinations at random instead of all")
    parser.add_argument("--seed", type=_count, default=1, metavar="N", help="of the random choice (default: 1)")
    words = "what the best is chosen by (default: sharpe)"
    parser.add_argument("--objective", default="sharpe", metavar="FIGURE", help=words)
    words = "choose on TRAIN days, trade the choice on the TEST days that follow, and go on from there"
    parser.add_argument("--walk-forward", type=_walk, metavar="TRAIN:TEST", help=words)
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=_count, metavar="N", help="processes (default: one per core)")
    where.add_argument("--dask", metavar="ADDRESS", help="play on a Dask cluster: address of its scheduler")


def _cuts(parser: argparse.ArgumentParser) -> None:
    words = "histories that end early, for each strategy and symbol (default: 200)"
    parser.add_argument("--cuts", type=_count, default=200, metavar="N", help=words)
    parser.add_argument("--seed", type=_count, default=1, metavar="N", help="of the choice of candles (default: 1)")


def _json_file(parser: argparse.ArgumentParser) -> None:
    words = "write one JSON document to FILE; to standard output, and nothing else, without FILE"
    parser.add_argument("--json", type=Path, nargs="?", const=Path("-"), metavar="FILE", help=words)


def _trades(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trades", type=Path, metavar="FILE", help="write the trades as CSV")


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _wait(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="return when it is in force, and fail when it is rejected")


def _limit(parser: argparse.ArgumentParser) -> None:
    words = "at most this many (default: 20; with --since: all)"
    parser.add_argument("--limit", type=_count, metavar="N", help=words)


def _symbol(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", nargs="?", type=symbol, metavar="SYMBOL", help="only this symbol, as in BTC/USDT")


def _accept(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", metavar="SYMBOL", nargs="?", help="in which symbol, as in BTC/USDT; default: in all")


def _close(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("symbol", type=symbol, metavar="SYMBOL", help="as in BTC/USDT")


def _since(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--since", type=_time, metavar="TIME", help="from this market time on, UTC, as in 2024-01-03")


def _until(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--until", type=_time, metavar="TIME", help="up to this market time, UTC")


def _decision(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("decision_id", type=_count, metavar="DECISION_ID", help="as `trader decisions` shows it")


def _acted(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--acted", action="store_true", help="only those that ordered something, or would have")


def _new(parser: argparse.ArgumentParser) -> None:
    words = "put a new one in its place; who is signed in has to sign in again"
    parser.add_argument("--new", action="store_true", help=words)


def _markdown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="print docs/configuration.md instead")


def symbol(text: str) -> str:
    """Return a symbol as the service writes it: btc-usdt and BTC_USDT are BTC/USDT."""
    found = text.upper().replace("-", "/", 1).replace("_", "/", 1)
    base, slash, quote = found.partition("/")
    if not (base and slash and quote):
        raise argparse.ArgumentTypeError(f"{text!r} is no symbol: write BASE/QUOTE, as in BTC/USDT")
    return found


def _symbols(text: str) -> list[str]:
    return [symbol(part.strip()) for part in text.split(",") if part.strip()]


def _walk(text: str) -> tuple[float, float]:
    train, colon, test = text.partition(":")
    try:
        days = float(train), float(test)
    except ValueError:
        days = (0.0, 0.0)
    if not colon or not 0 < days[0] < 1e6 or not 0 < days[1] < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no TRAIN:TEST in days, as in 90:30")
    return days


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no count from 1 to 1000000000")
    return int(text)


def _time(text: str) -> int:
    from trader.clock import parse_utc

    try:
        return parse_utc(text)
    except ValueError:
        message = f"{text!r} is no time: write 2024-01-03 or 2024-01-03T12:05:00Z"
        raise argparse.ArgumentTypeError(message) from None
