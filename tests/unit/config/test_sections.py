"""`trader.config.sections`: every key says what it is and what its change needs."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from pydantic import ValidationError

from trader.config.diff import Needs, needs_of
from trader.config.problems import section_at
from trader.config.sections import Config, RiskConfig


def leaves():
    """Yield every key of every section with its model field."""
    for name, info in Config.model_fields.items():
        section = section_at((name,))
        if section is None:
            yield name, info
        else:
            yield from ((f"{name}.{key}", inner) for key, inner in section.model_fields.items())


@pytest.mark.parametrize(("key", "info"), [pytest.param(key, info, id=key) for key, info in leaves()])
def test_key_has_description_and_reload_class(key, info):
    """Documentation and reload can not miss a key."""
    assert info.description, key
    assert isinstance(info.json_schema_extra, dict), key
    assert needs_of(info) in Needs


def test_config_travels_to_a_worker():
    """Spawned processes get the configuration by pickle."""
    assert pickle.loads(pickle.dumps(Config())) == Config()


def test_config_is_frozen():
    """Nobody changes a limit in place."""
    with pytest.raises(ValidationError):
        Config().risk.max_daily_trades = 1


def test_section_boolean_for_a_number_is_refused():
    """`yes` is no count of trades."""
    with pytest.raises(ValidationError, match="must not be true"):
        RiskConfig(max_daily_trades=True)


IMPORT = """
import pydantic.main
def private():
    for line in open("/proc/self/smaps_rollup"):
        if line.startswith("Pss_Anon:"):
            return int(line.split()[1]) / 1024
before = private()
import trader.config.sections
print(private() - before)
"""


def test_sections_cost_little_memory():
    """Every process of the service pays for them: one careless pattern (a long repetition) was 17 MiB in each."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10.0
