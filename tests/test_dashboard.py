"""The Grafana dashboard asks for what there is, and leaves nothing out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from tests.markdown import DOCS
from tests.processes import ROOT
from wsadapter import metrics
from wsadapter.metrics import Cluster, Metrics

metrics.uninstall()  # importing it has switched it on, for all tests of this process

DASHBOARD: dict[str, Any] = json.loads((ROOT / "docs/grafana-dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}

#: Metrics that no panel shows, each with a reason.
NOT_SHOWN: set[str] = set()


def by_sample() -> dict[str, tuple[str, set[str]]]:
    """What a query can name: the metric that it is of, and the labels that it has."""
    return dict(samples())


def samples() -> Iterator[tuple[str, tuple[str, set[str]]]]:
    for instrument in Metrics(shared=False)._instruments:
        (family,) = instrument.describe()
        labels = set(instrument._labelnames)
        if family.type == "histogram":
            yield f"{family.name}_bucket", (family.name, labels | {"le"})
            yield f"{family.name}_sum", (family.name, labels)
            yield f"{family.name}_count", (family.name, labels)
        else:
            ending = "_total" if family.type == "counter" else ""
            yield f"{family.name}{ending}", (family.name, labels)
    for family in Cluster().describe():
        yield family.name, (family.name, set())


SAMPLES = by_sample()
TARGETS = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
QUERIES = [target["expr"] for _, target in TARGETS]


def named(query: str) -> set[str]:
    return set(re.findall(r"\bwsadapter_\w+", query))


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_that_exist(query: str) -> None:
    assert named(query) and named(query) <= SAMPLES.keys()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_groups_by_labels_that_the_metric_has(query: str) -> None:
    grouped = {label for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(", ")}
    of_prometheus = {"job", "instance"}
    for name in named(query):
        assert grouped <= SAMPLES[name][1] | of_prometheus


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_of_the_chosen_instances(query: str) -> None:
    assert query.count('{job=~"$job", instance=~"$instance"') == len(
        re.findall(r"\bwsadapter_\w+", query)
    )
    assert query.count("(") == query.count(")") and query.count("{") == query.count("}")


@pytest.mark.parametrize("query", QUERIES)
def test_what_only_rises_is_shown_as_a_rate(query: str) -> None:
    for name in named(query):
        rises = name.endswith(("_total", "_bucket", "_sum", "_count"))
        assert bool(re.search(rf"(rate|increase)\({name}\b", query)) == rises


def test_the_page_and_its_alerts_name_metrics_that_exist() -> None:
    metrics_of_the_page = named(DOCS["metrics"].text)
    assert metrics_of_the_page <= SAMPLES.keys() | {metric for metric, _ in SAMPLES.values()}


def test_what_the_cluster_has_in_common_is_not_summed() -> None:
    for family in Cluster().describe():
        asking = [query for query in QUERIES if family.name in named(query)]
        assert asking and all(query.startswith(("max(", "min(")) for query in asking)


def test_every_metric_is_shown() -> None:
    shown = {SAMPLES[name][0] for query in QUERIES for name in named(query)}
    assert shown == {metric for metric, _ in SAMPLES.values()} - NOT_SHOWN


def test_it_is_a_dashboard_to_import() -> None:
    assert DASHBOARD["schemaVersion"] >= 36 and DASHBOARD["id"] is None
    assert DASHBOARD["title"] and DASHBOARD["uid"]
    (given,) = DASHBOARD["__inputs"]
    assert (given["name"], given["pluginId"]) == ("DS_PROMETHEUS", "prometheus")
    used = {panel["type"] for panel in PANELS}
    assert used == {each["id"] for each in DASHBOARD["__requires"] if each["type"] == "panel"}


def test_everything_is_asked_of_the_chosen_data_source() -> None:
    asked = [*PANELS, *(target for _, target in TARGETS), *VARIABLES.values()]
    assert {each["datasource"]["uid"] for each in asked} == {"${DS_PROMETHEUS}"}


def test_the_variables_are_those_that_the_queries_use() -> None:
    used = set(re.findall(r"\$(\w+)", " ".join(QUERIES))) - {"__rate_interval"}
    assert used == set(VARIABLES) == {"job", "instance"}
    for variable in VARIABLES.values():
        assert variable["query"]["query"] == variable["definition"]
        assert named(variable["definition"]) <= SAMPLES.keys()


@pytest.mark.parametrize(("title", "target"), TARGETS)
def test_a_legend_names_labels_that_are_left(title: str, target: dict[str, Any]) -> None:
    left = {
        label for by in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in by.split(", ")
    }
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == left - {"le"}


def test_panels_have_a_title_a_place_and_an_id_of_their_own() -> None:
    everything = DASHBOARD["panels"]
    ids, titles = [each["id"] for each in everything], [panel["title"] for panel in PANELS]
    assert len(set(ids)) == len(ids) and len(set(titles)) == len(titles)
    assert all(panel["description"] for panel in PANELS)
    for panel, other in combinations((each["gridPos"] for each in everything), 2):
        assert (
            panel["x"] + panel["w"] <= other["x"]
            or other["x"] + other["w"] <= panel["x"]
            or panel["y"] + panel["h"] <= other["y"]
            or other["y"] + other["h"] <= panel["y"]
        )
    assert all(each["gridPos"]["x"] + each["gridPos"]["w"] <= 24 for each in everything)
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_units_are_those_of_the_metrics() -> None:
    for panel in PANELS:
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            for name in named(target["expr"]):
                if re.search(r"_seconds(_bucket|_sum)?$", name):
                    assert unit == "s", panel["title"]
                elif "bytes" in name:
                    assert unit in ("bytes", "Bps"), panel["title"]
