"""`/metrics` and what is built on it: accepted by Prometheus' own tools, and every name that is used exists."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.serving import Dashboard, eventually
from tests.staging import SYMBOLS, Stage, paths_in
from trader.codes import Halt, Level, Role, Veto
from trader.monitor.health import CHECKS
from trader.state.dtypes import CHECK, MAX_CHECKS

ETC = Path(__file__).parents[2] / "etc"
NAME = re.compile(r"\btrader_[a-z_]+\b")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """Serve a staged instance with a position, a halt and a health check that warns."""
    stage = Stage(paths_in(tmp_path_factory.mktemp("prometheus"))).start()
    stage.desk["account"]["halt_mask"] = int(Halt.PAUSED)
    rows = np.zeros(MAX_CHECKS, CHECK)
    for row, (name, level) in zip(rows, (("disk", Level.WARNING), ("engine", Level.OK)), strict=False):
        row["name"], row["level"], row["value"], row["bound"] = name.encode(), level, 1.5, float("nan")
    stage.segments[Role.MONITOR].writer("checks").publish(rows)
    stage.publish()
    with Dashboard(stage) as serving:
        yield serving
    stage.stop()


@pytest.fixture(scope="module")
def text(dashboard: Dashboard) -> str:
    """Return what Prometheus reads."""

    def read() -> str | None:
        found = dashboard.request("GET", "/metrics")[2].decode()
        return found if 'trader_health_level{check="disk"} 1' in found else None

    found: str = eventually(read, "metrics with health")
    return found


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run Prometheus' own checker; who has none skips."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (apt-get install prometheus)")
    return subprocess.run(
        ["promtool", *arguments], input=given, capture_output=True, text=True, timeout=60, check=False
    )


def samples(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return every sample by name and labels, as Prometheus' own parser reads them."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            labels = tuple(sample.labels.values())
            assert labels not in found.setdefault(sample.name, {}), sample
            found[sample.name][labels] = sample.value
    return found


def test_metrics_pass_promtool(text: str) -> None:
    """Names, units, help and types as Prometheus wants them."""
    done = promtool("check", "metrics", given=text)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_metrics_say_what_was_staged(text: str) -> None:
    """Health with its levels, halts by cause, vetoes by cause."""
    found = samples(text)
    assert found["trader_health_level"] == {("disk",): 1.0, ("engine",): 0.0}
    assert found["trader_health_value"][("disk",)] == 1.5
    assert "trader_health_bound" not in found  # there is none
    assert found["trader_halted"] == {(halt.name.lower(),): float(halt is Halt.PAUSED) for halt in Halt}
    assert set(found["trader_vetoed"]) == {(veto.name.lower(),) for veto in Veto}
    assert found["trader_entries_open"] == {(): 0.0}
    assert found["trader_clearance_seconds"][()] <= 3600.0


def test_metrics_labels_are_bounded(text: str) -> None:
    """Every label's value comes from a short list: symbols, roles, limits, checks, causes, strategies."""
    allowed = {
        "symbol": set(SYMBOLS),
        "role": {role.name.lower() for role in Role},
        "cause": {code.name.lower() for kind in (Halt, Veto) for code in kind},
    }
    seen = set()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            for name, value in sample.labels.items():
                seen.add(name)
                assert value in allowed.get(name, {value}), sample
    assert seen <= {"symbol", "role", "limit", "check", "cause", "strategy", "version", "instance", "mode", "quote"}
    assert len(text.splitlines()) < 500


def announced(text: str) -> set[str]:
    """Return every series that can be there, those of an exchange too."""
    families = re.findall(r"^# TYPE (\S+) ", text, flags=re.MULTILINE)
    assert len(families) == len(set(families))
    return set(families)


def test_grafana_dashboard_names_metrics_that_exist(text: str) -> None:
    """Each expression of each panel; the file is one that Grafana can import."""
    document = json.loads((ETC / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in document["panels"] for target in panel.get("targets", ())]
    assert len(expressions) > 40
    used = {name for expression in expressions for name in NAME.findall(expression)}
    assert used - announced(text) == set()
    assert len({panel["id"] for panel in document["panels"]}) == len(document["panels"])
    assert "trader_up" in document["templating"]["list"][1]["query"]["query"]


def test_alert_rules_name_metrics_and_values_that_exist(text: str) -> None:
    """Each rule has a summary and advice; its metrics, checks, causes and limits are real."""
    rules = yaml.safe_load((ETC / "alerts-prometheus.yaml").read_text())["groups"][0]["rules"]
    known = announced(text)
    checks = {check.__name__.lstrip("_") for check in CHECKS}
    halts = {halt.name.lower() for halt in Halt}
    for rule in rules:
        assert set(NAME.findall(rule["expr"])) <= known, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description"}
        assert rule["labels"]["severity"] in ("warning", "critical")
        for name in re.findall(r'check="(\w+)"', rule["expr"]):
            assert name in checks
        for names in re.findall(r'cause=~"([^"]+)"', rule["expr"]):
            assert set(names.split("|")) <= halts
        for name in re.findall(r'limit="(\w+)"', rule["expr"]):
            assert f'limit="{name}"' in text


def test_alert_rules_pass_promtool() -> None:
    """As Prometheus will load them."""
    done = promtool("check", "rules", str(ETC / "alerts-prometheus.yaml"))
    assert done.returncode == 0, done.stderr


def test_healthz_shows_the_checks(dashboard: Dashboard) -> None:
    """The same list as `trader doctor`, the worst first."""
    checks = eventually(lambda: json.loads(dashboard.request("GET", "/healthz")[2])["checks"], "checks")
    assert [(check["name"], check["level"], check["bound"]) for check in checks] == [
        ("disk", "warning", None),
        ("engine", "ok", None),
    ]
