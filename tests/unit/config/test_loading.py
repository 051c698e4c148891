"""`trader.config.loading`: every problem at once, with its line."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from trader.config.loading import MAX_BYTES, load, parse_config, problems
from trader.config.problems import ConfigErrors
from trader.config.sections import Config
from trader.errors import EXIT_CONFIG, ConfigError

DEFAULT_FILE = Path(__file__).parents[3] / "etc" / "trader.yaml"


def complaints(text: str) -> list[str]:
    """Return what is said about a file named f.yaml."""
    with pytest.raises(ConfigErrors) as caught:
        parse_config(text.encode(), "f.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_load_default_file_equals_built_in_defaults():
    """etc/trader.yaml shows the defaults, it does not change them."""
    shown, built_in = load(DEFAULT_FILE), load(None)
    assert shown.model_copy(update={"strategies": built_in.strategies}) == built_in
    assert [entry.use for entry in shown.strategies] == ["simple_rsi"]


def test_load_values_reach_their_sections(tmp_path):
    """Dates stay text, exponents are numbers, lists become tuples, merged mappings count."""
    path = tmp_path / "t.yaml"
    path.write_text(
        "market: {since: 2024-01-03, symbols: [A/USDT]}\nexecution: {slippage_bps: 1e1}\n"
        "exits: &plan {stop_loss_frac: 0.05}\nrecovery:\n"
    )
    config = load(path)
    assert config.market.since == "2024-01-03"
    assert config.market.symbols == ("A/USDT",)
    assert config.execution.slippage_bps == 10.0
    assert config.exits.stop_loss_frac == 0.05
    assert config.recovery == Config().recovery


NOT_IN_THE_FILE = "a secret must not stand in the file: name where it is under credentials"

MANY = """\
instance: BAD!
risk:
  max_daily_trads: 5
  max_open_positions: yes
  max_drawdown_frac: 20
  stop_loss_frac: 0.1
market:
  source: replays
  timeframe: 5x
  since: 2024-01-02
  until: 2024-01-01
  exchange_config: {apiKey: abc}
strategies:
  - {use: a, symbols: [1]}
dashboard: {host: 0.0.0.0}
"""


def test_load_many_problems_reports_all_in_line_order():
    """One run names every mistake, in the order of the file."""
    assert complaints(MANY) == [
        "f.yaml:1: instance: must be 1 to 16 lower-case letters, digits and inner dashes, was 'BAD!'",
        "f.yaml:3: risk.max_daily_trads: unknown key; did you mean max_daily_trades?",
        "f.yaml:4: risk.max_open_positions: must not be true",
        "f.yaml:5: risk.max_drawdown_frac: must be at most 1 (a fraction: 0.05 is 5 %), was 20",
        "f.yaml:6: risk.stop_loss_frac: unknown key; did you mean exits.stop_loss_frac?",
        "f.yaml:8: market.source: must be one of simulated, replay, exchange, was 'replays'",
        "f.yaml:9: market.timeframe: '5x' is no timeframe: a count and one of s, m, h, d, w, as in 5m",
        "f.yaml:11: market.until: must be after market.since (2024-01-02), was 2024-01-01",
        f"f.yaml:12: market.exchange_config.apiKey: {NOT_IN_THE_FILE}",
        "f.yaml:14: strategies.0.symbols.0: must be text (put it in quotes), was 1",
        "f.yaml:15: dashboard: host 0.0.0.0 can be reached from other machines: set a token, or use 127.0.0.1",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("risk: {max_daily_trades: 1.5}", "f.yaml:1: risk.max_daily_trades: must be a whole number, was 1.5"),
        ("risk: {max_daily_loss_frac: much}", "f.yaml:1: risk.max_daily_loss_frac: must be a number, was 'much'"),
        ("initial_capital: .inf", "f.yaml:1: initial_capital: must be a finite number, was inf"),
        ("initial_capital: 0", "f.yaml:1: initial_capital: must be above 0, was 0"),
        ("risk: [1]", "f.yaml:1: risk: must be a section of keys and values, was a list"),
        ("market: {symbols: []}", "f.yaml:1: market.symbols: must not be empty"),
        ("market: {symbols: BTC/USDT}", "f.yaml:1: market.symbols: must be a list, as in [a, b], was 'BTC/USDT'"),
        ("market: {symbols: [BTC]}", "f.yaml:1: market.symbols: 'BTC' is no symbol: write BASE/QUOTE, as in BTC/USDT"),
        ("market: {symbols: [A/USDT, A/USDT]}", "f.yaml:1: market.symbols: listed twice: A/USDT"),
        (
            "market: {symbols: [A/EUR]}",
            "f.yaml:1: market.symbols.0: A/EUR is paid in EUR, and the account is kept in USDT (quote)",
        ),
        (
            "market: {source: replay}",
            "f.yaml:1: market.candles: is missing: market.source replay needs a folder of candle files",
        ),
        (
            "market: {since: soon}",
            "f.yaml:1: market.since: 'soon' is no time: write 2024-01-03 or 2024-01-03T12:05:00Z",
        ),
        ("strategies: []", "f.yaml:1: strategies: must not be empty"),
        ("strategies:\n- symbols: [X/USDT]", "f.yaml:2: strategies.0.symbols.0: X/USDT is not in market.symbols"),
        ("strategies:\n- {usage: a}", "f.yaml:2: strategies.0.usage: unknown key; did you mean use?"),
        ("market:\n  instruments:\n    A/USDT:\n      tick_siz: 1\n", "did you mean tick_size?"),
        ("market: {instruments: {X/USDT: {}}}", "f.yaml:1: market.instruments.X/USDT: X/USDT is not in market.symbols"),
        (
            "engine: {enable_trading: true}",
            "f.yaml:1: engine.enable_trading: real orders need market.source: exchange, was simulated",
        ),
        (
            "engine: {enable_trading: true}\nmarket: {source: exchange}",
            "f.yaml:1: engine.enable_trading: real orders need credentials.api_key and credentials.secret",
        ),
        ("llm: {modell: x}", "f.yaml:1: llm.modell: unknown key; did you mean model?"),
        ("dashboard: {enable: maybe}", "f.yaml:1: dashboard.enable: must be true or false, was 'maybe'"),
        ("a: 1\na: 2", "f.yaml:2: a: stands twice, in line 1 as well: remove one"),
        ("1: 2", "f.yaml:1: the key 1 is no text: put it in quotes"),
        ("risk:\n\tmax_daily_trades: 1", "f.yaml:2: a tab can not indent: use spaces"),
        ("risk: [", "f.yaml:1: is no valid YAML: "),
        ("a: 1\n---\nb: 2", "f.yaml:2: holds a second document after `---`: keep one"),
        ("- a", "f.yaml:1: must hold keys and values, as in `instance: main`"),
        ("", "f.yaml:1: holds no settings; `instance: main` alone means all defaults"),
        ("# nothing\n", "f.yaml:1: holds no settings; `instance: main` alone means all defaults"),
        ("instance: !!python/name:os.system x", "means nothing here: remove it"),
        ("market: &a {exchange_config: *a}", "contains itself through an alias"),
        ("a: \x00", "holds the character"),
    ],
)
def test_load_one_mistake_says_what_is_wrong(text, expected):
    """Each kind of mistake has words of its own."""
    assert any(expected in line for line in complaints(text)), complaints(text)


@pytest.mark.parametrize(
    "text",
    [
        "credentials: hunter2",
        "credentials: {api_key: hunter2}",
        "credentials: {api_key: [hunter2]}",
        "dashboard: {token: hunter2}",
        "credentials: {api_key: {env: hunter2, file: hunter2}}",
        "market: {exchange_config: {secret: hunter2}}",
        "strategies: [{params: {a: {api_token: hunter2}}}]",
    ],
)
def test_load_secret_in_the_file_is_refused_and_not_repeated(text):
    """What looks like a secret is refused, and the message does not spread it."""
    lines = complaints(text)
    assert lines
    assert not any("hunter2" in line for line in lines)


def test_load_multiplying_aliases_is_refused():
    """A small file can not fill the memory."""
    text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert any("too many values" in line for line in complaints(text))


def test_load_deep_nesting_is_refused():
    """Nesting beyond any sense is a complaint, not a crash."""
    assert complaints("a: " + "[" * 5000 + "]" * 5000)


def test_load_not_utf8_names_the_line():
    """The line of the first broken byte is named."""
    with pytest.raises(ConfigErrors, match=r"f.yaml:2: is not UTF-8 \(byte 0xff\)"):
        parse_config(b"a: 1\nb: \xff\n", "f.yaml")


def test_load_unreadable_places_are_config_errors(tmp_path):
    """No file, a folder, a pipe and a huge file are refused by name, without waiting."""
    pipe, huge = tmp_path / "pipe", tmp_path / "huge"
    os.mkfifo(pipe)
    huge.write_bytes(b"#" * (MAX_BYTES + 1))
    for path, words in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "no regular file"),
        (pipe, "no regular file"),
        (huge, "at most"),
    ):
        with pytest.raises(ConfigError, match=words) as caught:
            load(path)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == EXIT_CONFIG


def test_problems_valid_file_is_empty():
    """A valid file has no problems."""
    assert problems(DEFAULT_FILE) == ()


def test_config_errors_pickled_keep_their_problems():
    """Errors travel from a child process whole."""
    with pytest.raises(ConfigErrors) as caught:
        parse_config(b"a: 1", "f.yaml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert str(again) == str(caught.value)


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ('["close under 5"]', "exits.invalidations.0: 'close under 5': 'under' should be below or above"),
        (
            '[age over 3h, "RSI above 70 on 7m"]',
            "exits.invalidations.1: 'RSI above 70 on 7m': its timeframe",
        ),
        ("[age over 1h, age over 2h, age over 3h, age over 4h, age over 5h]", "exits.invalidations"),
        ("[5]", "exits.invalidations.0"),
    ],
)
def test_load_bad_invalidation_names_the_rule(tmp_path, rules, problem):
    """Which entry it is, and what in it is wrong."""
    path = tmp_path / "trader.yaml"
    path.write_text(f"market: {{timeframe: 5m}}\nexits: {{invalidations: {rules}}}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert problem in str(raised.value)


def test_load_good_invalidations_are_kept_as_written(tmp_path):
    """An age fits any candles."""
    path = tmp_path / "trader.yaml"
    text = "market: {timeframe: 5m}\nexits: {invalidations: [rsi(9) above 80 on 15m, close below 5, age over 90s]}\n"
    path.write_text(text, encoding="utf-8")
    assert load(path).exits.invalidations == ("rsi(9) above 80 on 15m", "close below 5", "age over 90s")
