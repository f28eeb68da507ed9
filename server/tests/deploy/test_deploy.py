"""The files in `deploy/` are valid, and agree with the server and each other. No image is built or started."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click import Command
from components import component, package
from local.flows import write_flows
from local.routes import OPEN

import lume_local
from lume_cli._app import app

DEPLOY = Path(__file__).parents[3] / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def instructions() -> list[tuple[str, str]]:
    """Those of the Containerfile, in order."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]  # type: ignore[misc]


def resources() -> list[Any]:
    found = [(path.stem, one) for path in KUBERNETES for one in yaml.safe_load_all(path.read_text())]
    return [pytest.param(one, id=f"{name} {one['kind']}") for name, one in found]


def pods() -> list[Any]:
    return [one for one in resources() if "template" in one.values[0].get("spec", {})]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose/compose.yaml").read_text())
    return found


def options_of(command: list[str]) -> None:
    """Fails where `lume serve` does not know an option, or its value."""
    serve = app.get_command(None, "serve")  # type: ignore[arg-type]
    assert isinstance(serve, Command)
    known = {name for parameter in serve.params for name in parameter.opts}
    given = {word.partition("=")[0] for word in command if word.startswith("--")}
    assert given - known == set()
    values = [word for word in command if not word.startswith("--state-env") and word != "LUME_STATE_URL"]
    serve.make_context("serve", values)


# -- the image


def test_the_image_is_not_root_and_has_a_volume_and_a_health_check() -> None:
    found = dict(instructions())
    assert found["USER"] == "10001:10001"
    assert found["VOLUME"] == "/data"
    assert found["STOPSIGNAL"] == "SIGTERM"
    assert "urlopen('http://127.0.0.1:8080/livez'" in found["HEALTHCHECK"]
    order = [name for name, _ in instructions()]
    assert order.index("USER") > max(n for n, name in enumerate(order) if name == "RUN")
    options_of([*json.loads(found["ENTRYPOINT"])[2:], *json.loads(found["CMD"])])


def test_the_build_gets_what_it_copies_and_nothing_else() -> None:
    root = DEPLOY.parent
    allowed = re.findall(r"^!(.+)$", (root / ".containerignore").read_text(), re.MULTILINE)
    copied = [
        words.split()[:-1] for name, words in instructions() if name == "COPY" and "--from" not in words
    ]
    assert sorted(allowed) == sorted(name for words in copied for name in words)
    assert all((root / name).exists() for name in allowed)
    install = next(words for name, words in instructions() if name == "RUN")
    extras = re.search(r"\./server\[(.+)\]", install)
    assert extras is not None
    project = (root / "server/pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras[1].split(","))
    sources = "".join(path.read_text() for path in (root / "server/lume_local").rglob("*.py"))
    asked = set(re.findall(r'\brequire\((?:\w+|"\w+"), "(\w+)",', sources))
    assert asked >= {"arrivals", "messages", "sftp", "s3", "oidc"}
    # `arrow` is an extra of the client, for programs.
    assert asked - {"dask", "spark", "ray", "arrow"} <= set(extras[1].split(",")), "what a server may ask for"


def folders(words: list[str]) -> set[str]:
    """The folders that a server needs at its start: it makes none but that of its data."""
    named = re.findall(r"--(?:data|flows|root)[ =](/\S+)", " ".join(words))
    assert named
    return set(named)


def in_the_image() -> set[str]:
    made = re.findall(
        r"install -d ([^&]+)", " ".join(words for name, words in instructions() if name == "RUN")
    )
    return {word for words in made for word in words.split() if word.startswith("/")}


def test_the_image_has_the_folders_that_its_server_needs() -> None:
    assert folders(json.loads(dict(instructions())["CMD"])) <= in_the_image()


def test_the_health_check_is_of_a_running_server(tmp_path: Path) -> None:
    (code,) = re.findall(r'"-c", "(.+)"', dict(instructions())["HEALTHCHECK"])
    with lume_local.serve_in_thread(write_flows(tmp_path / "flows"), tmp_path / "data") as server:
        check = code.replace("http://127.0.0.1:8080", server.base_url)
        assert subprocess.run(["python3", "-c", check], check=False).returncode == 0
    assert subprocess.run(["python3", "-c", check], check=False, stderr=subprocess.DEVNULL).returncode == 1


# -- compose


def test_compose_is_what_its_specification_says() -> None:
    spec = package("compose_spec")
    spec.PyCompose.from_yaml((DEPLOY / "compose/compose.yaml").read_text()).validate()


def test_two_servers_share_a_state_and_the_proxy_asks_them_whether_they_work() -> None:
    services = compose()["services"]
    assert services["server1"] == services["server2"]
    options_of(services["server1"]["command"])
    assert services["server1"]["environment"].keys() >= {"LUME_STATE_URL", "LUME_SERVER_KEY"}
    assert int(services["server1"]["stop_grace_period"].removesuffix("s")) > drain(
        services["server1"]["command"]
    )
    wanted = re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose/compose.yaml").read_text())
    given = re.findall(r"^(\w+)=$", (DEPLOY / "compose/example.env").read_text(), re.MULTILINE)
    assert set(wanted) == set(given), "no secret is in the files"
    proxy = (DEPLOY / "compose/haproxy.cfg").read_text()
    assert re.findall(r"server (\w+) \w+:8080", proxy) == ["server1", "server2"]
    assert set(re.findall(r"httpchk GET (\S+)", proxy)) <= OPEN
    assert all(int(one) > 60 for one in re.findall(r"timeout (?:client|server) +(\d+)s", proxy)), "long polls"


def test_the_proxy_takes_its_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "compose/haproxy.cfg").read_text()
    (tmp_path / "haproxy.cfg").write_text(re.sub(r"(server server\d) server\d:", r"\1 127.0.0.1:", text))
    done = subprocess.run(
        [component("haproxy"), "-c", "-f", str(tmp_path / "haproxy.cfg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# -- systemd


def unit() -> dict[str, list[str]]:
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "systemd/lume.service").read_text())
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_the_unit_gives_the_server_few_rights() -> None:
    program = component("systemd-analyze")
    done = subprocess.run(
        [
            program,
            "security",
            "--offline=true",
            "--threshold=30",
            "--no-pager",
            str(DEPLOY / "systemd/lume.service"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_starts_what_there_is_and_ends_it_in_time() -> None:
    found = unit()
    words = shlex.split(found["ExecStart"][0])
    assert words[:2] == ["/opt/lume/bin/lume", "serve"]
    options_of(words[2:])
    assert int(found["TimeoutStopSec"][0]) > drain(words)
    assert "ProcSubset" not in found, "without the id of the boot, no worker of an earlier server is known"
    assert found["Restart"] == ["always"]
    (steps,) = re.findall(
        r"^useradd [^`]+", (DEPLOY.parent / "docs/guides/deploy.md").read_text(), re.MULTILINE
    )
    made = set(steps.split())
    assert "deploy/systemd/lume.service" in made
    assert made >= (folders(words) - {f"/var/lib/{found['StateDirectory'][0]}"}) | {*found["ReadWritePaths"]}
    assert found["EnvironmentFile"][0].lstrip("-") in made
    assert found["KillMode"] == ["mixed"], "SIGTERM is for the server: it ends its workers"
    assert "@resources" not in found["SystemCallFilter"][-1], "workers bound their own memory"


def drain(words: list[str]) -> int:
    found = re.search(r"--drain[ =](\d+)s", " ".join(words))
    assert found is not None
    return int(found[1])


# -- kubernetes


@pytest.mark.parametrize("resource", resources())
def test_a_manifest_is_what_its_schema_says(resource: Any) -> None:
    package("kubernetes_validate").validate(resource, "1.29", strict=True)


@pytest.mark.parametrize("resource", pods())
def test_a_pod_has_probes_few_rights_and_time_to_end(resource: Any) -> None:
    pod = resource["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    options_of(container["args"])
    probes = {name: value["httpGet"]["path"] for name, value in container.items() if name.endswith("Probe")}
    assert probes["readinessProbe"] == "/readyz"
    assert set(probes.values()) <= OPEN
    assert probes["livenessProbe"] == probes["startupProbe"] == "/livez", "a restart mends no full disk"
    assert pod["terminationGracePeriodSeconds"] > drain(container["args"])
    assert pod["securityContext"]["runAsNonRoot"]
    user, group = (pod["securityContext"][name] for name in ("runAsUser", "runAsGroup"))
    assert f"{user}:{group}" == dict(instructions())["USER"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in container["volumeMounts"]} >= {"data", "tmp"}
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert folders(container["args"]) <= mounted, "on a new volume, too"
    replicas = resource["spec"]["replicas"]
    assert (replicas > 1) == ("--state-env" in container["args"]), "one server for one file"
    if replicas > 1:  # of which one is ready
        rollout = resource["spec"]["strategy"]["rollingUpdate"]
        assert rollout == {"maxUnavailable": replicas, "maxSurge": 0}, (
            "else it waits for a second one to be ready"
        )
        kinds = {one.values[0]["kind"] for one in resources()}
        assert "PodDisruptionBudget" not in kinds, "else a node with the ready one is never drained"


# -- monitoring


def metrics_of(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:lume|process)_\w+", expression))


def offered(tmp_path: Path) -> set[str]:
    """The names of the metrics that a server with an arrival has after one run."""
    import urllib.request

    home = tmp_path
    (home / "people.csv").write_text("id,Email,Age\n1,ann@example.org,3\n")
    arrivals = home / "arrivals.toml"
    arrivals.write_text('[[arrival]]\nname = "acme"\nflow = "people"\nfrom = "*.tsv"\n')
    flows = write_flows(home / "flows")
    with lume_local.serve_in_thread(flows, home / "data", [home], arrivals=arrivals) as server:
        with server.client() as client:
            client.run("people:v1", "people.csv").wait(30)
        request = urllib.request.Request(
            f"{server.base_url}/metrics", headers={"lume-api-key": server.api_key}
        )
        text = urllib.request.urlopen(request, timeout=10).read().decode()
    return set(re.findall(r"^(\w+?)(?:_created)?[{ ]", text, re.MULTILINE))


def expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())
    alerts = yaml.safe_load((DEPLOY / "monitoring/alerts.yaml").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return panels + [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]


def test_panels_and_alerts_use_metrics_that_a_server_has(tmp_path: Path) -> None:
    package("prometheus_client")
    used = set[str]().union(*map(metrics_of, expressions()))
    known = offered(tmp_path)
    assert {name for name in used if name not in known} == set()


def test_the_alerts_are_valid_and_come_when_they_should() -> None:
    """Each has series in which it comes, and series in which it does not."""
    alerts, tests = (
        yaml.safe_load((DEPLOY / f"monitoring/{name}.yaml").read_text()) for name in ("alerts", "alerts_test")
    )
    cases = [
        (one["alertname"], "exp_alerts" in one) for part in tests["tests"] for one in part["alert_rule_test"]
    ]
    names = [rule["alert"] for group in alerts["groups"] for rule in group["rules"]]
    assert set(cases) == {(name, comes) for name in names for comes in (True, False)}
    promtool = component("promtool")
    for arguments in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run(
            [promtool, *arguments], cwd=DEPLOY / "monitoring", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


PANEL = {
    "type": "object",
    "required": ["id", "type", "title", "gridPos", "datasource", "targets", "fieldConfig", "options"],
    "properties": {
        "id": {"type": "integer"},
        "type": {"enum": ["stat", "timeseries"]},
        "title": {"type": "string", "minLength": 1},
        "datasource": {"const": {"type": "prometheus", "uid": "${datasource}"}},
        "gridPos": {
            "type": "object",
            "required": ["x", "y", "w", "h"],
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 100},
        },
        "targets": {
            "type": "array",
            "minItems": 1,
            "items": {"type": "object", "required": ["refId", "expr", "legendFormat"]},
        },
    },
}
DASHBOARD = {
    "type": "object",
    "required": ["title", "uid", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "schemaVersion": {"type": "integer", "minimum": 36},
        "uid": {"type": "string", "maxLength": 40},
        "panels": {"type": "array", "minItems": 1, "items": PANEL},
    },
}
"""What Grafana needs to import it; it publishes no JSON schema of dashboards."""


def test_the_dashboard_can_be_imported_and_its_queries_parsed(tmp_path: Path) -> None:
    dashboard = json.loads((DEPLOY / "monitoring/dashboard.json").read_text())
    jsonschema.validate(dashboard, DASHBOARD)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    cells = [
        (x, y)
        for panel in dashboard["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels lie on each other"
    assert max(x for x, _ in cells) < 24
    known = {one["name"] for one in dashboard["templating"]["list"]} | {"__rate_interval"}
    rules = []
    for number, expression in enumerate(expressions()):
        assert set(re.findall(r"\$\{?(\w+)", expression)) <= known
        plain = expression.replace("$__rate_interval", "5m")
        rules.append({"record": f"panel:{number}", "expr": re.sub(r"\$\w+", ".*", plain)})
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        [component("promtool"), "check", "rules", "rules.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
