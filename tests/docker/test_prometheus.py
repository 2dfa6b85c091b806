"""The alerts and the dashboard: by promtool, and by a Prometheus that scrapes a server."""

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from serving.embedded import EmbeddedServer

from ..debian_programs import require_program
from .conftest import DOCKER

RULES = DOCKER / "prometheus" / "rules.yaml"
DASHBOARD = DOCKER / "grafana" / "dashboards" / "serving.json"

#: What TensorFlow Serving measures, as far as rules and panels ask for it, by the kind of metric.
COUNTERS = {":tensorflow:serving:request_count"}
HISTOGRAMS = {
    ":tensorflow:serving:request_latency",
    ":tensorflow:serving:runtime_latency",
    ":tensorflow:serving:model_warmup_latency",
    ":tensorflow:serving:batching_session:queuing_latency",
}
#: What the embedded server has not.
BATCHING = "batching_session"


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts by name."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def queries(*, variables: dict[str, str] | None = None) -> list[str]:
    """The queries of the dashboard, their variables replaced."""
    found = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in (variables or {}).items():
                text = text.replace(f"${name}", value)
            found.append(text)
    return found


SOON = {"__rate_interval": "5s", "model": ".*", "instance": ".*"}


def promtool(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require_program("promtool"), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_config_and_the_rules_are_prometheuss() -> None:
    run = promtool("check", "config", "prometheus.yaml", cwd=RULES.parent)
    assert run.returncode == 0, run.stderr
    assert "1 rule files found" in run.stdout


def test_the_rules_fire_when_they_should_and_only_then() -> None:
    run = promtool("test", "rules", "rules_test.yaml", cwd=RULES.parent)
    assert run.returncode == 0, run.stdout + run.stderr


def rule_tests() -> list[dict[str, Any]]:
    tests: list[dict[str, Any]] = yaml.safe_load((RULES.parent / "rules_test.yaml").read_text())[
        "tests"
    ]
    return tests


def test_every_rule_is_tested_to_fire_and_to_end() -> None:
    ending = set()
    for test in rule_tests():
        looks = [
            (each["alertname"], minutes(each["eval_time"]), bool(each.get("exp_alerts")))
            for each in test.get("alert_rule_test", [])
        ]
        # What fires without labels that can be foreseen is counted.
        looks += [
            (name[0], minutes(each["eval_time"]), bool(each.get("exp_samples")))
            for each in test.get("promql_expr_test", [])
            if (name := re.findall(r'alertname="(\w+)"', each["expr"]))
        ]
        ending |= {
            name
            for name, fired, is_firing in looks
            if is_firing and any(n == name and t > fired and not f for n, t, f in looks)
        }
    assert ending == {*alerts()}


def minutes(text: str) -> int:
    assert text.endswith("m")
    return int(text[:-1])


# What a TensorFlow Serving has recorded, step by step.


def recorded_pages() -> list[dict[str, float]]:
    """The value of each series after each step."""
    pages = sorted((Path(__file__).parent / "recorded_metrics").glob("*.txt"))
    lines = [
        [line.rsplit(" ", 1) for line in page.read_text().splitlines() if line[0] != "#"]
        for page in pages
    ]
    return [{series: float(value) for series, value in page} for page in lines]


def label_names(series: str) -> tuple[str, frozenset[str]]:
    name, _, labels = series.partition("{")
    return name, frozenset(re.findall(r"(\w+)=\"", labels)) - {"job", "instance"}


def test_the_series_of_the_rules_tests_have_the_shape_of_recorded_ones() -> None:
    recorded = {label_names(series) for page in recorded_pages() for series in page}
    given = {label_names(each["series"]) for test in rule_tests() for each in test["input_series"]}
    not_recorded = {name for name, _ in given - recorded}
    # The recorded server has no batching, and `up` is Prometheus's own.
    assert not_recorded == {"up", ":tensorflow:serving:batching_session:queuing_latency_bucket"}


def replayed(tmp_path: Path, **checks: Any) -> subprocess.CompletedProcess[str]:
    """The recorded steps a minute each; the last for ten minutes; then ten minutes of answers."""
    pages = recorded_pages()
    every = sorted(set().union(*pages))
    values = {series: [page.get(series) for page in pages] for series in every}
    for before, after in ((4, 5), (3, 4)):
        for _ in range(10):
            for seen in values.values():
                first, last = seen[before], seen[after]
                now = seen[-1]
                grown = (last or 0) - (first or 0)
                seen.append(now if now is None else now + grown)
    inputs = [
        {
            "series": series.replace("{", '{job="tensorflow-serving",instance="a:8501",'),
            "values": " ".join("_" if value is None else f"{value:.0f}" for value in seen),
        }
        for series, seen in values.items()
    ]
    test = {"interval": "1m", "input_series": inputs, **checks}
    (tmp_path / "rules.yaml").write_text(RULES.read_text())
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )
    return promtool("test", "rules", "test.yaml", cwd=tmp_path)


def test_on_recorded_pages_the_version_that_went_fires_alone_and_until_there_are_answers(
    tmp_path: Path,
) -> None:
    fired = {
        "exp_labels": {"severity": "page", "job": "tensorflow-serving", "model_name": "penguins"},
        "exp_annotations": {
            "summary": "penguins: every request finds no version",
            "runbook": "docs/runbook.md#noversionavailable",
        },
    }
    checks = [
        {
            "alertname": name,
            "eval_time": f"{minute}m",
            "exp_alerts": [fired] if name == "NoVersionAvailable" and 9 <= minute <= 15 else [],
        }
        for name in alerts()
        if name != "ServerDown"  # `up` is in no page
        for minute in (*range(6), *range(9, 16), *range(18, 26))
    ]
    run = replayed(tmp_path, alert_rule_test=checks)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_request_rate_of_the_dashboard_leaves_looks_at_a_models_state_out(
    tmp_path: Path,
) -> None:
    panels = {each["title"]: each for each in json.loads(DASHBOARD.read_text())["panels"]}

    def check(title: str, minute: int, **a_minute: float) -> dict[str, Any]:
        (target,) = panels[title]["targets"]
        query = target["expr"]
        for name, value in {**SOON, "__rate_interval": "3m"}.items():
            query = query.replace(f"${name}", value)
        samples = [{"labels": labels, "value": value} for labels, value in a_minute.items()]
        return {
            "expr": f"round(60 * ({query}))",
            "eval_time": f"{minute}m",
            "exp_samples": samples,
        }

    # While the version is gone: 20 looks and 20 requests a minute; later 31 answers a minute.
    of_status = '{{model_name="{}",status="{}"}}'.format
    later = {
        of_status("penguins", "OK"): 31,
        of_status("penguins", "NOT_FOUND"): 0,
        of_status("penguins", "INVALID_ARGUMENT"): 0,
        of_status("nothing", "NOT_FOUND"): 0,
    }
    run = replayed(
        tmp_path,
        promql_expr_test=[
            check("Requests per second", 12, **{"{}": 20}),
            check("Requests per second", 24, **{"{}": 31}),
            check("Requests by status", 24, **later),
        ],
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "other"),
    [("> 100000", "> 1e9"), ("> 0.05", "> 0.5"), ("> 2.5", "> 9"), (">= 4", ">= 9")],
)
def test_the_tests_of_the_rules_notice_another_limit(
    tmp_path: Path, limit: str, other: str
) -> None:
    text = RULES.read_text()
    assert text.count(limit) == 1
    (tmp_path / "rules.yaml").write_text(text.replace(limit, other))
    (tmp_path / "rules_test.yaml").write_text((RULES.parent / "rules_test.yaml").read_text())
    assert promtool("test", "rules", "rules_test.yaml", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "query", [*(rule["expr"] for rule in alerts().values()), *queries(variables=SOON)]
)
def test_rules_and_panels_ask_for_metrics_of_tensorflow_serving_and_up(query: str) -> None:
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on) \([^)]*\)|\"[^\"]*\"", "", query)
    names = set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare))
    metrics = names - {"and", "or", "unless", "by", "on"}
    assert metrics
    histograms = {f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "sum", "count")}
    assert metrics <= {"up", *COUNTERS, *histograms}


def test_every_query_and_rule_asks_for_the_job_by_its_name() -> None:
    (job,) = yaml.safe_load((RULES.parent / "prometheus.yaml").read_text())["scrape_configs"]
    name = f'job="{job["job_name"]}"'
    for query in (*(rule["expr"] for rule in alerts().values()), *queries()):
        selectors = re.findall(r"\{([^}]*)\}", query)
        assert selectors
        assert all(name in selector for selector in selectors), query


def test_the_panels_on_batching_show_what_waits_for_a_batch(tmp_path: Path) -> None:
    """By promtool alone: the embedded server has no batching."""
    asked = [
        each for each in queries(variables={**SOON, "__rate_interval": "5m"}) if BATCHING in each
    ]
    # Half of the requests wait for up to 1 ms, the other half for up to 2 ms.
    expected = {"(0.5, ": 1000, "(0.99, ": 1980, "latency_count{": 10}
    series = ':tensorflow:serving:batching_session:queuing_latency_{}{{job="tensorflow-serving",'
    series += 'instance="a:8501",thread_pool_name="batch_threads"{}}}'
    buckets = {"1000": "0+300x30", "2000": "0+600x30", "+Inf": "0+600x30"}
    inputs = [
        *(
            {"series": series.format("bucket", f',le="{le}"'), "values": v}
            for le, v in buckets.items()
        ),
        {"series": series.format("count", ""), "values": "0+600x30"},
    ]
    checks = [
        {
            "expr": query,
            "eval_time": "20m",
            "exp_samples": [{"labels": '{thread_pool_name="batch_threads"}', "value": value}],
        }
        for query in asked
        for part, value in expected.items()
        if part in query
    ]
    assert len(checks) == len(asked) == 3
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump(
            {
                "evaluation_interval": "1m",
                "tests": [{"interval": "1m", "input_series": inputs, "promql_expr_test": checks}],
            }
        )
    )
    run = promtool("test", "rules", "test.yaml", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_dashboard_is_provisioned_with_its_data_source() -> None:
    provisioning = DASHBOARD.parent.parent / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "serving.yaml").read_text())[
        "providers"
    ]
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    targets = [each["target"] for each in services["grafana"]["volumes"] if isinstance(each, dict)]
    assert provider["options"]["path"] in targets
    assert source["url"] == "http://prometheus:9090"


def test_no_two_panels_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells


@dataclass(frozen=True)
class Watched:
    """A server under some traffic, and the Prometheus that watches it."""

    prometheus: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": query}).json()
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def firing(self) -> set[str]:
        answer = httpx.get(f"{self.prometheus}/api/v1/alerts").json()
        return {
            each["labels"]["alertname"]
            for each in answer["data"]["alerts"]
            if each["state"] == "firing"
        }


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def watched(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Rules and config are those of docker/, but for how often and how long they look."""
    program = require_program("prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((RULES.parent / "prometheus.yaml").read_text())
    config["global"] = {"scrape_interval": "200ms", "evaluation_interval": "200ms"}
    (job,) = config["scrape_configs"]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [server.rest_address]}]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["expr"] = re.sub(r"\[\d+m\]", "[3s]", rule["expr"])
        rule["for"] = "0s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = (folder / "log").open("w")
    with subprocess.Popen(
        [
            program,
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
        ],
        stdout=log,
        stderr=log,
    ) as process:
        stop = threading.Event()
        traffic = threading.Thread(target=_ask_until, args=(stop, str(server.rest_address)))
        traffic.start()
        try:
            wait_until(lambda: _ready(address))
            yield Watched(f"http://{address}")
        finally:
            stop.set()
            traffic.join()
            process.terminate()
            log.close()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready").status_code == 200
    except httpx.TransportError:
        return False


def _ask_until(stop: threading.Event, address: str) -> None:
    """Ten requests in a row: eight that are right, one of another width, one for no model."""
    right, wide = {"instances": [[0.5, 1.0]]}, {"instances": [[0.5, 1.0, 2.0]]}
    asked = [("people", right)] * 8 + [("people", wide), ("nobody", right)]
    with httpx.Client(base_url=f"http://{address}") as client:
        while True:
            for model, body in asked:
                client.post(f"/v1/models/{model}:predict", json=body)
                if stop.wait(0.02):
                    return


@pytest.mark.slow
def test_every_panel_shows_data(watched: Watched) -> None:
    def numbers(query: str) -> bool:
        return any(each["value"][1] != "NaN" for each in watched.ask(query))

    for query in queries(variables=SOON):
        if BATCHING not in query:
            wait_until(partial(numbers, query))


@pytest.mark.slow
def test_the_figures_are_those_of_the_traffic(watched: Watched) -> None:
    (refused,) = [each for each in queries(variables=SOON) if 'status=~"FAILED' in each]

    def shares() -> dict[str, float]:
        return {
            each["metric"]["model_name"]: float(each["value"][1]) for each in watched.ask(refused)
        }

    # Of nine requests for the model one cannot be answered; of the others all are not found.
    wait_until(lambda: abs(shares().get("people", 1) - 1 / 9) < 0.04)
    assert shares()["nobody"] == 0


@pytest.mark.slow
def test_an_alert_fires_when_the_model_breaks_and_ends_when_it_is_mended(
    watched: Watched, published: Path, tmp_path: Path
) -> None:
    wait_until(
        lambda: watched.ask('last_over_time(:tensorflow:serving:request_count{status="OK"}[1d])')
    )
    assert "NoVersionAvailable" not in watched.firing()
    (published / "1").rename(tmp_path / "gone")
    try:
        wait_until(lambda: "NoVersionAvailable" in watched.firing())
    finally:
        (tmp_path / "gone").rename(published / "1")
    wait_until(lambda: "NoVersionAvailable" not in watched.firing())
