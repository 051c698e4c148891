"""Whatever bits account and slots hold, a restart brings the same bits back."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.paper_desk import SYMBOLS, configure, open_ledger
from trader.codes import RuleKind
from trader.core.records import ACCOUNT, MAX_GAUGES, MAX_RULES, SLOT, new_desk, new_slots
from trader.core.rulebook import restore_gauges, write_rules
from trader.domain.invalidation import Invalidation
from trader.ledger import schema

FLOATS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True) | st.sampled_from([0.0, -0.0, 1e308])
WHOLE = st.integers(-(2**63), 2**63 - 1)
STRATEGIES = ("alpha", "beta")


def values(dtype, field):
    """Return what a field may hold."""
    return FLOATS if dtype[field].kind == "f" else WHOLE


SECONDS = st.integers(1, 10**7).map(lambda seconds: seconds * 10**9)
FRAMES = st.just(0) | SECONDS
PRICES = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
READINGS = st.floats(0, 100, exclude_min=True, exclude_max=True)
RULES = (
    st.builds(Invalidation, st.sampled_from([RuleKind.CLOSE_BELOW, RuleKind.CLOSE_ABOVE]), PRICES, FRAMES)
    | st.builds(
        Invalidation, st.sampled_from([RuleKind.RSI_BELOW, RuleKind.RSI_ABOVE]), READINGS, FRAMES, st.integers(2, 500)
    )
    | st.builds(Invalidation, st.just(RuleKind.AGE_OVER), frame_ns=SECONDS)
)
ROWS = st.tuples(FRAMES, st.integers(2, 500), st.integers(0, 501), PRICES, PRICES, PRICES)

ACCOUNTS = st.fixed_dictionaries({field: values(ACCOUNT, field) for field in schema.ACCOUNT_FIELDS})
SLOTS = st.fixed_dictionaries(
    {
        **{field: values(SLOT, field) for field in schema.SLOT_FIELDS},
        **dict.fromkeys(schema.SLOT_FIELDS_STRATEGY, st.integers(-1, len(STRATEGIES) - 1)),
        "rules": st.lists(RULES, max_size=MAX_RULES),
        "gauges": st.lists(ROWS, max_size=MAX_GAUGES),
    }
)


def write(record, fields):
    """Set fields of a record."""
    for field, value in fields.items():
        if field == "rules":
            write_rules(record, value)
        elif field == "gauges":
            restore_gauges(record, value)
        else:
            record[field] = value


@settings(max_examples=60)
@given(account=ACCOUNTS, slots=st.lists(SLOTS, min_size=3, max_size=3), again=ACCOUNTS, cursor_ns=st.integers(0, 2**62))
def test_restore_any_state_is_bit_exact(account, slots, again, cursor_ns):
    """Two states written one over the other: the second comes back, each float by its bits."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        desk, rows = new_desk(), new_slots(3)
        configure(desk, rows)
        with open_ledger(path) as ledger:
            ledger.restore(desk, rows, SYMBOLS, STRATEGIES)
            write(desk["account"][0], again)
            ledger.save_state(desk, rows, 1)
            ledger.commit()
            write(desk["account"][0], account)
            for row, fields in zip(rows, slots, strict=True):
                write(row, fields)
            ledger.save_state(desk, rows, cursor_ns)
        found, found_rows = new_desk(), new_slots(3)
        configure(found, found_rows)
        with open_ledger(path) as ledger:
            assert ledger.restore(found, found_rows, SYMBOLS, STRATEGIES).cursor_ns == cursor_ns
        assert found["account"].tobytes() == one_nan(desk["account"]).tobytes()
        assert found_rows.tobytes() == one_nan(rows).tobytes()


def one_nan(records):
    """Return records with every NaN as the one quiet NaN: its payload means nothing."""
    copy = records.copy()
    for field in copy.dtype.names:
        if copy.dtype[field].kind == "f":
            copy[field][np.isnan(copy[field])] = np.nan
    return copy
