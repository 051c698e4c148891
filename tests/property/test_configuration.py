"""Whatever stands in a configuration file, the answer is a configuration or a list of problems."""

from __future__ import annotations

import json

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from trader.config.loading import parse_config
from trader.config.problems import ConfigErrors
from trader.config.schema import keys
from trader.config.sections import Config

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["BTC/USDT", "5m"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner)),
    max_leaves=8,
)
PATHS = st.sampled_from([key for key in keys() if "*" not in key])


def outcome(content: bytes) -> Config | ConfigErrors:
    """Return the configuration or the complaint."""
    try:
        return parse_config(content, "f.yaml")
    except ConfigErrors as error:
        return error


def check(found: Config | ConfigErrors, lines: int) -> None:
    """Check that a complaint is usable: something is said, each at a line that the file has."""
    if isinstance(found, ConfigErrors):
        assert found.problems
        for problem in found.problems:
            assert problem.text
            assert 1 <= problem.line <= lines


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbfinstance: main")
@example(b"a: &a [*a]")
@example(b"? [1]\n: 2")
@example(b"<<: 3")
@example(b"market: {<<: {speed: 1}}")
@example(b"a: 1:99999999999999999999999999999")
@example(b"a: 0b")
@example(b"%YAML 9.9\n---\na: 1")
def test_any_bytes_are_read_or_complained_about(content):
    """No input breaks the loader."""
    check(outcome(content), content.count(b"\n") + content.count(b"\r") + content.count(b"\xc2\x85") + 8)


@given(st.dictionaries(PATHS, VALUES, min_size=1, max_size=5))
def test_any_values_are_taken_or_complained_about(values):
    """Values of any type at any key give a configuration, or problems that name the file's lines."""
    tree: dict[str, object] = {}
    for path, value in values.items():
        section, _, key = path.rpartition(".")
        if not section:
            tree[key] = value
        elif isinstance(tree.setdefault(section, {}), dict):
            tree[section][key] = value  # type: ignore[index]
    text = yaml.safe_dump(tree, allow_unicode=True)
    check(outcome(text.encode("utf-8", "surrogatepass")), text.count("\n") + 1)


def test_defaults_written_out_read_back_as_the_defaults():
    """JSON is YAML: what the models dump, the loader reads to the same value."""
    text = json.dumps(Config().model_dump(mode="json"))
    assert parse_config(text.encode(), "f.yaml") == Config()
