"""docker/kubernetes/: what kustomize makes of it, held against the schemas of the kinds.

The schemas of ServiceMonitor and InferenceService are in no package: their fields are tested by
name.
"""

import copy
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def test_an_overlay_has_every_kind_once(manifests: list[Manifest]) -> None:
    assert sorted(each["kind"] for each in manifests) == [
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
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
        (namespace,) = {each["metadata"]["namespace"] for each in manifests}
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


def test_the_server_is_probed_by_its_port_and_the_pod_by_its_answers(
    manifests: list[Manifest],
) -> None:
    server, probe = container(manifests, "server"), container(manifests, "probe")
    assert server["startupProbe"]["tcpSocket"] == server["livenessProbe"]["tcpSocket"]
    assert server["livenessProbe"]["tcpSocket"] == {"port": "grpc"}
    assert "readinessProbe" not in server
    assert "livenessProbe" not in probe
    assert "tfkmeans probe" in probe["readinessProbe"]["exec"]["command"][-1]


@pytest.mark.parametrize(("model", "code"), [("people", 0), ("nobody", 2)])
def test_the_readiness_command_is_one_that_tfkmeans_takes(
    build: Callable[[str], list[Manifest]],
    server: EmbeddedServer,
    published: Path,
    model: str,
    code: int,
) -> None:
    shell, option, line = container(build("staging"), "probe")["readinessProbe"]["exec"]["command"]
    assert (shell, option) == ("sh", "-c")
    expanded = subprocess.run(
        [shell, option, line.replace("exec tfkmeans", "printf '%s\\n'")],
        env={"MODEL_NAME": model},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    address, models = str(server.grpc_address), str(published.parent)
    words = expanded.replace("localhost:8500", address).replace("/models", models).splitlines()
    assert main(words) == code


def test_no_container_may_do_more_than_it_must(manifests: list[Manifest]) -> None:
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["automountServiceAccountToken"] is False
    for each in pod["containers"]:
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

    volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == only(manifests, "PersistentVolumeClaim")["metadata"]["name"]
    config = only(manifests, "ConfigMap")
    assert volumes["config"]["configMap"]["name"] == config["metadata"]["name"]
    (variable,) = container(manifests, "probe")["env"]
    assert variable["valueFrom"]["configMapKeyRef"]["name"] == config["metadata"]["name"]
    for each in pod["spec"]["containers"]:
        assert {mount["name"] for mount in each["volumeMounts"]} <= set(volumes)


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
