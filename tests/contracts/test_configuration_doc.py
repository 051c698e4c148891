"""docs/configuration.md, etc/trader.yaml and the schema say what the models say."""

from __future__ import annotations

from pathlib import Path

import yaml

from trader.config.problems import section_at
from trader.config.schema import json_schema, keys, markdown
from trader.config.sections import Config

ROOT = Path(__file__).parents[2]


def test_configuration_doc_is_up_to_date():
    """Regenerate with: trader schema --markdown > docs/configuration.md."""
    assert (ROOT / "docs" / "configuration.md").read_text() == markdown()


def test_configuration_doc_names_every_key():
    """No key is left out by the generator."""
    text = markdown()
    for key in keys():
        assert f"| `{key.rsplit('.', 1)[-1]}` |" in text, key


def test_default_file_shows_every_key():
    """An owner sees every key in etc/trader.yaml, in the models' order; sections without keys are left out."""
    shown = yaml.safe_load((ROOT / "etc" / "trader.yaml").read_text())
    expected = [
        name for name in Config.model_fields if (section := section_at((name,))) is None or section.model_fields
    ]
    assert list(shown) == expected
    for name in expected:
        section = section_at((name,))
        if section is not None:
            assert list(shown[name]) == list(section.model_fields), name


def test_schema_covers_every_section_and_refuses_unknown_keys():
    """An editor can complete and check with it."""
    schema = json_schema()
    assert set(schema["properties"]) == set(Config.model_fields)
    assert schema["additionalProperties"] is False
    assert all(model["additionalProperties"] is False for model in schema["$defs"].values())
