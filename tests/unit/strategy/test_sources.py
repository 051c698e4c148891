"""Where strategies come from: files beside the configuration, and packages that are installed."""

from __future__ import annotations

import sys

import pytest

from trader.config.diff import Needs
from trader.config.loading import load, parse_config, strategy_files
from trader.config.sections import StrategyConfig
from trader.errors import ConfigError, StrategyError
from trader.strategy import registry
from trader.strategy.registry import build, create
from trader.supervisor.reloading import _edited

MINE = """
from tests.unit.strategy.strategies import Always

class Mine(Always):
    name = "{name}"
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a configuration and a strategy beside it."""
    (tmp_path / "mine.py").write_text(MINE.format(name="mine"))
    (tmp_path / "trader.yaml").write_text("strategies: [{use: 'mine.py:Mine'}]\n")
    return tmp_path


def test_file_beside_the_configuration_is_found_from_anywhere(folder, monkeypatch):
    """Whatever folder the service is started in."""
    monkeypatch.chdir("/")
    config = load(folder / "trader.yaml")
    assert config.strategies[0].use == f"{folder}/mine.py:Mine"
    (bound,) = create(config.strategies, ("BTC/USDT",), "1m")
    assert bound.name == "mine"


def test_file_of_an_ensembles_member_is_found_too(folder):
    """Members are named as strategies are."""
    (folder / "trader.yaml").write_text("strategies: [{use: ensemble, params: {members: [{use: 'mine.py:Mine'}]}}]\n")
    (bound,) = create(load(folder / "trader.yaml").strategies, ("BTC/USDT",), "1m")
    assert bound.strategy.members[0].strategy.name == "mine"


def test_file_of_a_configuration_that_was_kept_elsewhere(folder, tmp_path):
    """The last good configuration lies in the data folder; its strategies do not."""
    config = parse_config((folder / "trader.yaml").read_bytes(), "/elsewhere/last.yaml", folder)
    assert config.strategies[0].use == f"{folder}/mine.py:Mine"


def test_file_that_was_edited_is_read_anew(folder):
    """On the next reload, without a restart; unchanged it is the same class."""
    use = f"{folder}/mine.py:Mine"
    first = build(use, {})
    assert type(build(use, {})) is type(first)
    (folder / "mine.py").write_text(MINE.format(name="edited"))
    assert build(use, {}).name == "edited"
    assert first.name == "mine"


def test_file_that_is_not_there_is_the_configurations_mistake(folder):
    """With its path."""
    (folder / "trader.yaml").write_text("strategies: [{use: 'yours.py:Mine'}]\n")
    with pytest.raises(ConfigError, match=rf"strategies.0.use: there is no file {folder}/yours.py"):
        create(load(folder / "trader.yaml").strategies, ("BTC/USDT",), "1m")


def test_file_without_the_class_names_the_nearest(folder):
    """As for a module."""
    with pytest.raises(ConfigError, match=r"mine.py has no class 'Min'; did you mean Mine\?"):
        build(f"{folder}/mine.py:Min", {})


@pytest.mark.parametrize("text", ["raise RuntimeError('on purpose')", "def broken(:\n"])
def test_file_that_breaks_is_the_strategys_problem(folder, text):
    """And leaves no half module behind."""
    (folder / "mine.py").write_text(text)
    with pytest.raises(StrategyError, match=r"mine.py: raised (RuntimeError|SyntaxError) when it was imported"):
        build(f"{folder}/mine.py:Mine", {})
    assert not [name for name, one in sys.modules.items() if getattr(one, "__file__", "") == f"{folder}/mine.py"]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages that offer strategies, as pip leaves them."""

    def install(package, offers):
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[trader.strategies]\n" + offers)
        registry._installed.cache_clear()

    monkeypatch.syspath_prepend(tmp_path)
    yield install
    registry._installed.cache_clear()


def test_entry_point_is_used_by_its_name(installed):
    """A package that is installed needs no path in the configuration."""
    installed("their_package", "always_theirs = tests.unit.strategy.strategies:Always\n")
    (bound,) = create([StrategyConfig(use="always_theirs", params={"confidence": 0.5})], ("BTC/USDT",), "1m")
    assert bound.name == "always"
    with pytest.raises(ConfigError, match=r"there is no strategy 'always_their'; did you mean always_theirs\?"):
        build("always_their", {})


def test_entry_point_cannot_take_one_of_our_names(installed):
    """What a configuration means does not change with what is installed."""
    installed("their_package", "simple_rsi = tests.unit.strategy.strategies:Always\n")
    assert build("simple_rsi", {}).name == "simple_rsi"


def test_entry_point_of_two_packages_is_refused(installed):
    """Nobody guesses which one was meant."""
    installed("their_package", "popular = tests.unit.strategy.strategies:Always\n")
    installed("other_package", "popular = tests.unit.strategy.strategies:Raising\n")
    with pytest.raises(ConfigError, match=r"'popular' is offered by several packages; write which one: tests"):
        build("popular", {})


def test_entry_point_to_nothing_says_so(installed):
    """The module that it names is named."""
    installed("their_package", "gone = their_package.gone:Gone\n")
    with pytest.raises(ConfigError, match="use: there is no module their_package"):
        build("gone", {})


def test_strategy_files_tell_an_edited_file(folder):
    """So that a reload has something to bring into force, though the configuration is the same."""
    (folder / "trader.yaml").write_text(
        "strategies: [{use: simple_rsi}, {use: ensemble, params: {members: [{use: 'mine.py:Mine'}]}}]\n"
    )
    config = load(folder / "trader.yaml")
    before = strategy_files(config)
    assert list(before) == [f"{folder}/mine.py"]
    assert strategy_files(config) == before
    (folder / "mine.py").write_text(MINE.format(name="edited"))
    (change,) = _edited(before, strategy_files(config))
    assert (change.key, change.needs) == (f"strategies ({folder}/mine.py)", Needs.HOT)
    assert _edited(before, before) == []
    (folder / "mine.py").unlink()
    assert strategy_files(config) == {f"{folder}/mine.py": ""}


def test_strategy_files_of_names_and_modules_are_none():
    """They come into force with a restart."""
    config = parse_config(b"strategies: [{use: simple_rsi}, {use: 'package.module:Class'}]\n", "x.yaml")
    assert strategy_files(config) == {}
