"""The dashboards of deploy/grafana: what they ask, Prometheus understands, and gateways tell."""

import json
import re
import sys
import urllib.request

import pytest
import yaml

from fleet import Fleet
from gateway import REPOSITORY

GRAFANA = REPOSITORY / "deploy/grafana"
RULES = REPOSITORY / "deploy/prometheus"
sys.path.append(str(GRAFANA))

import dashboards  # noqa: E402

# What Grafana would put there.
VALUES = {"$__rate_interval": "5m", "$model": ".*", "$route": ".*", "$feature": ".*", "$role": "primary", "$window": "1h"}
NAME = re.compile(r"\b[a-zA-Z_][a-zA-Z0-9_:]*")
STRINGS = re.compile(r'"[^"]*"')
# Series that a histogram or a summary has beside its own name.
PARTS = re.compile(r"_(bucket|sum|count)$")


def queries(name: str) -> list[str]:
    page = json.loads((GRAFANA / f"{name}.json").read_text())
    return [target["expr"] for panel in page["panels"] for target in panel["targets"]]


def filled_in(expression: str) -> str:
    for variable, value in VALUES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression


def metrics(text: str) -> set[str]:
    """The metrics that an expression names: all that is no function, label or keyword has a prefix."""
    names = NAME.findall(STRINGS.sub('""', text))
    return {name for name in names if re.search(r"(^|:)(modelgate|process)_|^ALERTS", name)}


@pytest.fixture(scope="module")
def known(fleet: Fleet) -> set[str]:
    with urllib.request.urlopen(f"http://{fleet.gateways[0].metrics}/metrics", timeout=60) as answer:
        page = answer.read().decode()
    families = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE ")}
    recorded = set()
    for path in RULES.glob("*.rules.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            recorded |= {rule["record"] for rule in group["rules"] if "record" in rule}
    return families | recorded | {"ALERTS"}


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_the_file_is_what_the_script_writes(name: str) -> None:
    written = dashboards.render(dashboards.DASHBOARDS[name])
    assert (GRAFANA / f"{name}.json").read_text() == written, "run deploy/grafana/dashboards.py"


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_prometheus_understands_every_query(name: str, fleet: Fleet) -> None:
    for expression in queries(name):
        fleet.prometheus.query(filled_in(expression))


@pytest.mark.parametrize("name", dashboards.DASHBOARDS)
def test_every_metric_exists(name: str, known: set[str]) -> None:
    page = json.loads((GRAFANA / f"{name}.json").read_text())
    variables = [own["query"] for own in page["templating"]["list"]]
    asked = set().union(*(metrics(text) for text in [*queries(name), *variables]))
    assert len(asked) > 8
    assert {own for own in asked if own not in known and PARTS.sub("", own) not in known} == set()


def test_every_panel_of_drift_shows_something(fleet: Fleet) -> None:
    for expression in queries("drift"):
        asked = filled_in(expression)
        fleet.prometheus.wait_until(f"{asked} has samples", lambda asked=asked: fleet.prometheus.query(asked) != [])
