"""docker/kubernetes/: what kustomize makes of it, held against the schemas of the kinds.

The schemas of ServiceMonitor and InferenceService are in no package: their fields are tested by
name.
"""

import copy
import shutil
import subprocess
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml
from google.protobuf import text_format

from serving.cli import main
from serving.embedded import EmbeddedServer
from serving.embedded.option_messages import MonitoringConfig

from .conftest import DOCKER
from .packaged_programs import packaged_program
from .server_flags import checked_flags

pytestmark = pytest.mark.slow

KUBERNETES = DOCKER / "kubernetes"
OVERLAYS = ("staging", "production")
#: The oldest that has every field (ContainerResource of an autoscaler), and the newest known.
CLUSTERS = ("1.30", kubernetes_validate.latest_version())
CUSTOM = ("ServiceMonitor", "InferenceService")

Manifest = dict[str, Any]


@pytest.fixture(scope="module")
def build() -> Callable[[str], list[Manifest]]:
    """What ``kubectl kustomize`` makes of an overlay."""
    built: dict[str, list[Manifest]] = {}

    def run(overlay: str) -> list[Manifest]:
        if overlay not in built:
            process = subprocess.run(
                [packaged_program("kubectl"), "kustomize", KUBERNETES / "overlays" / overlay],
                capture_output=True,
                text=True,
                check=False,
            )
            assert process.returncode == 0, process.stderr
            assert process.stderr == ""  # no warning, as of a field that is going out of use
            built[overlay] = list(yaml.safe_load_all(process.stdout))
        return built[overlay]

    return run


@pytest.fixture(params=OVERLAYS)
def manifests(request: pytest.FixtureRequest, build: Callable[[str], Any]) -> list[Manifest]:
    overlay: list[Manifest] = build(request.param)
    return overlay


def only(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    """The one manifest of a kind, and where there are several, of a name."""
    (found,) = [
        each
        for each in manifests
        if each["kind"] == kind and each["metadata"]["name"] in (name or each["metadata"]["name"],)
    ]
    return found


def container(manifests: list[Manifest], name: str) -> Manifest:
    containers = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return next(each for each in containers if each["name"] == name)


def pods(manifests: list[Manifest]) -> list[Manifest]:
    """The template of each pod that the manifests make."""
    job = only(manifests, "CronJob")["spec"]["jobTemplate"]
    return [each["spec"]["template"] for each in (only(manifests, "Deployment"), job)]


def golden_check(manifests: list[Manifest]) -> Manifest:
    """The container that asks a golden request."""
    _, pod = pods(manifests)
    (container,) = pod["spec"]["containers"]
    found: Manifest = container
    return found


def test_an_overlay_has_every_kind_once(manifests: list[Manifest]) -> None:
    assert sorted(each["kind"] for each in manifests) == [
        "ConfigMap",
        "CronJob",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Namespace",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
        "Service",
        "ServiceMonitor",
    ]


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_kind_of_kubernetes_is_valid_by_its_schema(
    manifests: list[Manifest], cluster: str
) -> None:
    for each in manifests:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, cluster, strict=True)


def test_the_schemas_refuse_what_is_wrong(build: Callable[[str], list[Manifest]]) -> None:
    deployment = copy.deepcopy(only(build("staging"), "Deployment"))
    deployment["spec"]["strategy"]["rollingUpdate"]["maxSurges"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="maxSurges"):
        kubernetes_validate.validate(deployment, CLUSTERS[0], strict=True)


def test_the_overlays_differ_where_they_should(build: Callable[[str], list[Manifest]]) -> None:
    found = {}
    for overlay in OVERLAYS:
        manifests = build(overlay)
        (namespace,) = {
            each["metadata"]["namespace"] for each in manifests if each["kind"] != "Namespace"
        }
        assert only(manifests, "Namespace")["metadata"]["name"] == namespace
        scaler = only(manifests, "HorizontalPodAutoscaler")["spec"]
        memory = container(manifests, "server")["resources"]["limits"]["memory"]
        found[overlay] = (namespace, scaler["minReplicas"], scaler["maxReplicas"], memory)
    assert found == {
        "staging": ("tfkmeans-staging", 1, 2, "2Gi"),
        "production": ("tfkmeans", 3, 10, "4Gi"),
    }


def test_a_rollout_never_has_fewer_pods_than_before(manifests: list[Manifest]) -> None:
    spec = only(manifests, "Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    # The autoscaler's number would be lost at each apply.
    assert "replicas" not in spec


def test_the_server_has_the_flags_of_compose(manifests: list[Manifest]) -> None:
    server = container(manifests, "server")
    assert server["image"] == "tensorflow/serving:2.20.0"
    assert server["command"] == ["tensorflow_model_server"]
    flags = checked_flags(server["args"])
    lines = (DOCKER / "compose.yaml").read_text()
    batching = {"enable_batching", "enable_per_model_batching_parameters"}
    for name, value in flags.items():
        assert f"- --{name}={value}\n" in lines or name in batching
    assert {flags[name] for name in batching} == {"false"}
    config = only(manifests, "ConfigMap")["data"]["monitoring.config"]
    monitoring = text_format.Parse(config, MonitoringConfig()).prometheus_config
    assert monitoring.enable
    assert monitoring.path == only(manifests, "ServiceMonitor")["spec"]["endpoints"][0]["path"]


def test_the_server_lives_by_its_port_and_is_ready_by_the_state_of_its_model(
    manifests: list[Manifest],
) -> None:
    server = container(manifests, "server")
    assert server["startupProbe"]["tcpSocket"] == server["livenessProbe"]["tcpSocket"]
    assert server["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    model = only(manifests, "ConfigMap")["data"]["MODEL_NAME"]
    assert server["readinessProbe"]["httpGet"] == {
        "port": "rest",
        "path": f"/v1/models/{model}/labels/stable/metadata",
    }
    # No program is started every few seconds, and no golden answer takes a pod out.
    assert [each["name"] for each in pods(manifests)[0]["spec"]["containers"]] == ["server"]


def test_a_pod_is_ready_as_long_as_the_version_of_the_label_is_loaded(
    build: Callable[[str], list[Manifest]], server: EmbeddedServer, published: Path, tmp_path: Path
) -> None:
    path = container(build("staging"), "server")["readinessProbe"]["httpGet"]["path"]
    with httpx.Client(base_url=f"http://{server.rest_address}") as client:

        def status(model: str, label: str = "stable") -> int:
            place = path.replace("/customers/", f"/{model}/").replace("/stable/", f"/{label}/")
            return client.get(place).status_code

        # The node takes 200 to 399 for a yes.
        assert status("people") == 200
        assert status("people", "canary") >= 400
        assert status("nobody") >= 400
        (published / "1").rename(tmp_path / "gone")
        try:
            wait_until(lambda: status("people") >= 400)
            assert client.get("/v1/models/people").status_code == 200
        finally:
            (tmp_path / "gone").rename(published / "1")
        wait_until(lambda: status("people") == 200)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(("model", "code"), [("people", 0), ("nobody", 2)])
def test_the_golden_check_is_a_command_that_tfkmeans_takes(
    build: Callable[[str], list[Manifest]],
    server: EmbeddedServer,
    published: Path,
    model: str,
    code: int,
) -> None:
    address, models = str(server.grpc_address), str(published.parent)
    words = [
        word.replace("$(MODEL_NAME)", model)
        .replace("tfkmeans-serving:8500", address)
        .replace("/models", models)
        for word in golden_check(build("staging"))["args"]
    ]
    assert words[0] == "probe"
    assert address in words[1]
    assert main(words) == code


def test_the_golden_check_calls_the_service_and_its_failure_stays_to_be_seen(
    manifests: list[Manifest],
) -> None:
    job = only(manifests, "CronJob")["spec"]
    assert job["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert job["failedJobsHistoryLimit"] > 0
    assert job["concurrencyPolicy"] == "Forbid"
    (server,) = [each for each in golden_check(manifests)["args"] if each.startswith("--server=")]
    service = only(manifests, "Service", server.removeprefix("--server=").partition(":")[0])
    assert int(server.rpartition(":")[2]) in {each["port"] for each in service["spec"]["ports"]}


def test_only_callers_and_prometheus_reach_the_server(manifests: list[Manifest]) -> None:
    policy = only(manifests, "NetworkPolicy")["spec"]
    labels = pods(manifests)[0]["metadata"]["labels"].items()
    assert policy["podSelector"]["matchLabels"].items() <= labels
    # What is named here and has no rule below is refused: all that goes out.
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    callers, prometheus = policy["ingress"]
    assert {"podSelector": {}} in callers["from"]  # of its own namespace, the golden check too
    assert [each["port"] for each in callers["ports"]] == ["grpc", "rest"]
    assert [each["port"] for each in prometheus["ports"]] == ["rest"]


@pytest.fixture(scope="module")
def with_tls(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    """The overlay staging, with the line of the component taken in."""
    copied = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, copied)
    kustomization = copied / "overlays" / "staging" / "kustomization.yaml"
    text = kustomization.read_text()
    assert text.count("\n# components: ") == 1
    kustomization.write_text(text.replace("\n# components: ", "\ncomponents: "))
    process = subprocess.run(
        [packaged_program("kubectl"), "kustomize", kustomization.parent],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    return list(yaml.safe_load_all(process.stdout))


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_with_tls_every_kind_is_valid_too(with_tls: list[Manifest], cluster: str) -> None:
    for each in with_tls:
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, cluster, strict=True)


def test_with_tls_the_key_is_for_the_server_and_the_authority_for_the_golden_check(
    with_tls: list[Manifest],
) -> None:
    server, check = container(with_tls, "server"), golden_check(with_tls)
    assert checked_flags(server["args"])["ssl_config_file"] == "/tls/ssl.config"
    assert "--tls-ca=/tls/ca.pem" in check["args"]
    for pod, used, file in zip(
        pods(with_tls), (server, check), ("ssl.config", "ca.pem"), strict=True
    ):
        (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "tls"]
        assert volume["secret"]["secretName"] == "serving-tls"
        assert volume["secret"]["items"] == [{"key": file, "path": file}]
        (mount,) = [each for each in used["volumeMounts"] if each["name"] == "tls"]
        assert mount == {"name": "tls", "mountPath": "/tls", "readOnly": True}
    server_pod = pods(with_tls)[0]["spec"]
    (volume,) = [each for each in server_pod["volumes"] if each["name"] == "tls"]
    assert volume["secret"]["defaultMode"] == 0o400
    assert server_pod["securityContext"]["fsGroup"] == server_pod["securityContext"]["runAsGroup"]
    # REST, which has no TLS, is Prometheus's alone.
    callers, prometheus = only(with_tls, "NetworkPolicy")["spec"]["ingress"]
    assert [each["port"] for each in callers["ports"]] == ["grpc"]
    assert [each["port"] for each in prometheus["ports"]] == ["rest"]


def test_no_container_may_do_more_than_it_must(manifests: list[Manifest]) -> None:
    specs = [pod["spec"] for pod in pods(manifests)]
    for pod in specs:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
    for each in chain(*(pod["containers"] for pod in specs)):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert each["resources"]["limits"]["memory"]
        assert all(
            mount.get("readOnly") for mount in each["volumeMounts"] if mount["name"] != "tmp"
        )
        # A tag of its own, so that a rollback brings back what was there.
        assert each["image"].rpartition(":")[2][0].isdigit()


def test_every_reference_leads_somewhere(manifests: list[Manifest]) -> None:
    deployment = only(manifests, "Deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    for budget in (only(manifests, "PodDisruptionBudget"),):
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    for spread in pod["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels

    ports = {each["name"] for each in container(manifests, "server")["ports"]}
    services = [each for each in manifests if each["kind"] == "Service"]
    for service in services:
        assert service["spec"]["selector"].items() <= labels
        assert {each["targetPort"] for each in service["spec"]["ports"]} <= ports

    scaler = only(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    (metric,) = scaler["metrics"]
    assert container(manifests, metric["containerResource"]["container"])["resources"]["requests"]

    config = only(manifests, "ConfigMap")
    for each in pods(manifests):
        volumes = {volume["name"]: volume for volume in each["spec"]["volumes"]}
        claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
        assert claim == only(manifests, "PersistentVolumeClaim")["metadata"]["name"]
        for one in each["spec"]["containers"]:
            assert {mount["name"] for mount in one["volumeMounts"]} <= set(volumes)
        if "config" in volumes:
            assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    (variable,) = golden_check(manifests)["env"]
    assert variable["valueFrom"]["configMapKeyRef"]["name"] == config["metadata"]["name"]


def test_the_service_monitor_finds_one_service_under_the_jobs_name(
    manifests: list[Manifest],
) -> None:
    monitor = only(manifests, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    spec = monitor["spec"]
    assert set(spec) == {"jobLabel", "sampleLimit", "selector", "endpoints"}
    wanted = spec["selector"]["matchLabels"].items()
    (service,) = [
        each
        for each in manifests
        if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()
    ]
    assert service["metadata"]["labels"][spec["jobLabel"]] == "tensorflow-serving"
    (endpoint,) = spec["endpoints"]
    assert set(endpoint) == {"port", "path", "interval"}
    assert endpoint["port"] in {each["name"] for each in service["spec"]["ports"]}


def test_the_inference_service_names_a_format_a_place_and_a_version() -> None:
    service = yaml.safe_load((KUBERNETES / "kserve" / "inference_service.yaml").read_text())
    assert (service["apiVersion"], service["kind"]) == (
        "serving.kserve.io/v1beta1",
        "InferenceService",
    )
    predictor = service["spec"]["predictor"]
    assert set(predictor) == {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "model"}
    model = predictor["model"]
    assert set(model) == {"modelFormat", "runtimeVersion", "storageUri", "resources"}
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["storageUri"] == f"pvc://models/{service['metadata']['name']}"
    claim = yaml.safe_load((KUBERNETES / "base" / "models_claim.yaml").read_text())
    assert claim["metadata"]["name"] == "models"
