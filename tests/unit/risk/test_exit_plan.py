"""From the configuration's words to the record that kernels read."""

from __future__ import annotations

import math

from trader.config.sections import Config
from trader.core.records import LIMITS, new_desk, new_slots
from trader.risk.exit_plan import limit_values, stale_mark_ns, write_costs, write_limits

S = 10**9


def test_limit_values_name_every_field_of_the_record() -> None:
    """No limit is left at what memory happened to hold."""
    rules = {name for name in LIMITS.names if name == "rules" or name.startswith("rule_")}
    assert set(limit_values(Config(), 1)) | rules == set(LIMITS.names)


def test_write_limits_defaults_are_the_configurations() -> None:
    """Optional exits become NaN or zero; the rest is taken over."""
    desk = new_desk()
    write_limits(desk, Config(), 3)
    limits = desk["limits"][0]
    assert (limits["max_open_positions"], limits["max_daily_loss_frac"], limits["stop_loss_frac"]) == (5, 0.05, 0.02)
    assert (limits["take_profit_frac"], limits["max_hold_ns"], limits["config_epoch"]) == (0.03, 0, 3)
    assert math.isnan(limits["trailing_stop_frac"])
    assert (limits["loss_streak_limit"], limits["atr_bars"], limits["cooldown_ns"]) == (0, 0, 0)


def test_write_limits_exits_that_are_set_and_unset() -> None:
    """A null means none; seconds become nanoseconds."""
    exits = {"take_profit_frac": None, "trailing_stop_frac": 0.05, "max_hold_seconds": 90.5}
    values = limit_values(Config.model_validate({"exits": exits}), 0)
    assert math.isnan(values["take_profit_frac"])
    assert (values["trailing_stop_frac"], values["max_hold_ns"]) == (0.05, 90_500_000_000)


def test_stale_mark_is_three_candles_unless_said() -> None:
    """Without a setting, three candles may be missing."""
    assert stale_mark_ns(Config.model_validate({"market": {"timeframe": "5m"}})) == 900 * S
    assert stale_mark_ns(Config.model_validate({"market": {"stale_after_seconds": 7}})) == 7 * S


def test_write_costs_basis_points_become_fractions() -> None:
    """5 bps are 0.0005."""
    slots = new_slots(2)
    write_costs(slots, Config())
    assert slots["fee_rate_frac"].tolist() == [0.001, 0.001]
    assert slots["slippage_frac"].tolist() == [0.0005, 0.0005]
