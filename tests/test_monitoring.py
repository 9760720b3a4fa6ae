"""The files for Prometheus and Grafana: each query is tried against metrics of a real run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import promql_parser as promql
import pytest
import yaml

from sinergi.metrics import definitions
from sinergi.metrics.definitions import MetricKind

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "monitoring"
RULES = FOLDER / "sinergi.rules.yml"
RULES_TEST = ROOT / "tests" / "monitoring" / "sinergi.rules.test.yml"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text("utf-8"))

# What Prometheus adds to each series, and a metric of its own.
ADDED = {"job", "instance"}
OF_OTHERS = {"up": set[str](), "process_resident_memory_bytes": set[str]()}
# What Grafana puts in place of its variables.
VARIABLES = {"$job": "sinergi", "$__rate_interval": "1m"}


def series() -> dict[str, set[str]]:
    """The labels of each series that the definitions promise, by its name in a query."""
    found = dict(OF_OTHERS)
    for each in definitions.METRICS:
        labels = set(each.labels)
        if each.kind is MetricKind.HISTOGRAM:
            found |= {each.name + end: labels for end in ("_count", "_sum")}
            found[f"{each.name}_bucket"] = labels | {"le"}
        else:
            found[each.name] = labels
    return found


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard that show something."""
    return [each for each in DASHBOARD["panels"] if each["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Each query of both files, with the name of what asks it."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield panel["title"], text


def parts(expression: Any) -> Iterator[Any]:
    """An expression and all expressions in it."""
    yield expression
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expression, name, None)
        if isinstance(inner, promql.Expr):
            yield from parts(inner)
    for inner in getattr(expression, "args", None) or ():
        yield from parts(inner)


def selectors(text: str) -> Iterator[promql.VectorSelector]:
    """The series that a query reads."""
    for each in parts(promql.parse(text)):
        if isinstance(each, promql.VectorSelector):
            yield each


@pytest.mark.parametrize(("asked_by", "text"), [*queries()])
def test_a_query_reads_what_a_process_shows(asked_by: str, text: str) -> None:
    known = series()
    read = list(selectors(text))
    assert read, asked_by
    for each in read:
        assert each.name in known, each.name
        labels = {matcher.name for matcher in each.matchers.matchers}
        assert labels <= known[each.name] | ADDED, text


@pytest.mark.parametrize(("asked_by", "text"), [*queries()])
def test_a_query_groups_by_labels_that_its_series_have(asked_by: str, text: str) -> None:
    known = series()
    for each in parts(promql.parse(text)):
        if isinstance(each, promql.AggregateExpr) and each.modifier is not None:
            inner = [known[one.name or ""] for one in selectors(each.expr.prettify())]
            wanted = set(each.modifier.labels)
            assert inner, asked_by
            for labels in inner:
                assert wanted <= labels | ADDED, text


def test_a_label_is_compared_with_a_value_that_it_has() -> None:
    values = {
        "step": {"seal", "send", "store"},
        "state": {"starting", "standing by", "working", "waiting", "assigned", "claimed", "halted"},
        "job": {"sinergi"},
    }
    for _, text in queries():
        for each in selectors(text):
            for matcher in each.matchers.matchers:
                assert set(matcher.value.split("|")) <= values[matcher.name], text


def test_a_query_that_reads_nothing_that_is_shown_is_found() -> None:
    (read,) = selectors("max by (job) (rate(sinergi_unheard_of_total[5m]))")
    assert read.name not in series()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_names_the_runbook_that_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    assert re.fullmatch(r"\d+m", rule["for"])
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^## (.*)$", (ROOT / page).read_text("utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


def test_an_annotation_fills_in_labels_that_the_query_leaves() -> None:
    for rule in rules():
        said = " ".join(rule["annotations"].values())
        filled = set(re.findall(r"\$labels\.(\w+)", said))
        kept = set(ADDED)
        for each in parts(promql.parse(rule["expr"])):
            if isinstance(each, promql.VectorSelector):
                kept |= series()[each.name or ""]
        assert filled <= kept, rule["alert"]


def test_every_rule_and_panel_has_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_panels_of_the_dashboard_do_not_cover_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (column, line)
            for column in range(place["x"], place["x"] + place["w"])
            for line in range(place["y"], place["y"] + place["h"])
        }
        assert max(column for column, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_panel_says_what_it_shows() -> None:
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_every_figure_of_the_agencies_is_on_the_dashboard_or_in_an_alert() -> None:
    """A figure that nobody looks at would not be worth reading."""
    asked = {each.name for _, text in queries() for each in selectors(text)}
    unseen = {
        each.name
        for each in definitions.METRICS
        if not asked & {each.name, *(f"{each.name}_{end}" for end in ("bucket", "count"))}
    }
    assert unseen == {
        "sinergi_process_info",
        "sinergi_relay_held_rows_total",
        "sinergi_provision_changes_total",
        "sinergi_look_seconds",
        "sinergi_look_age_seconds",
        "sinergi_materialised_leaves",
        "sinergi_available_leaves",
    }


def test_prometheus_reads_the_rules_and_scrapes_the_job_that_they_name() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    assert config["rule_files"] == [RULES.name]
    assert [each["job_name"] for each in config["scrape_configs"]] == ["sinergi"]
    program = shutil.which("promtool")
    if program is None:  # it is no Python package; where it is installed, it has the last word
        return
    for command in (
        ["check", "config", str(FOLDER / "prometheus.yml")],
        ["check", "rules", str(RULES)],
        ["test", "rules", str(RULES_TEST)],
    ):
        done = subprocess.run([program, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
