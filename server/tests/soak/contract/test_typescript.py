"""openapi-typescript's types of openapi.yaml: a program over them compiles strictly, runs, and can't misuse them."""

import json
import re
from pathlib import Path

import pytest
from components import component
from contract_tools.support import DESCRIPTION, KEY, run, served

HERE = Path(__file__).parent
PROGRAM = (HERE / "program.ts").read_text()
SOURCE = "id,Email,Age\n1,ann@example.org,31\nx,bob@example.org,5\n"
STRICT = {
    "strict": True,
    "noUncheckedIndexedAccess": True,
    "exactOptionalPropertyTypes": True,
    "noPropertyAccessFromIndexSignature": True,
    "target": "es2022",
    "module": "nodenext",
    "types": [],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the generated types and what finds the packages."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "node_modules").symlink_to(Path(component("tsc")).parents[1])
    (folder / "package.json").write_text('{"type": "module"}')
    # By default it takes what has a default value for required.
    options = ["--default-non-nullable", "false", "-o", "lume.d.ts"]
    made = run(component("openapi-typescript"), str(DESCRIPTION), *options, folder=folder)
    assert made.returncode == 0, made.stdout
    return folder


def compiled(project: Path, **programs: str) -> dict[str, list[str]]:
    """What the compiler says of each program."""
    for name, text in programs.items():
        (project / f"{name}.ts").write_text(text)
    settings = {"compilerOptions": STRICT, "files": [f"{name}.ts" for name in programs]}
    (project / "tsconfig.json").write_text(json.dumps(settings))
    said = run(component("tsc"), "--pretty", "false", folder=project, timeout=600).stdout
    errors = re.split(r"^(?=\w+\.ts\()", said, flags=re.MULTILINE)
    assert errors[0] == "", said
    return {name: [one for one in errors if one.startswith(f"{name}.ts(")] for name in programs}


@pytest.mark.timeout(600)
def test_a_program_compiles_strictly_and_runs(project: Path, tmp_path: Path) -> None:
    assert compiled(project, program=PROGRAM) == {"program": []}
    home = tmp_path / "home"
    home.mkdir()
    with served(home) as url:
        (home / "sent.csv").write_text(SOURCE)
        done = run(component("node"), "program.js", url, KEY, "sent.csv", folder=project)
    assert done.returncode == 0, done.stdout
    said = json.loads(done.stdout)
    assert (said["status"], said["mapped"], said["ticket"]) == ("PARTIAL_FAILED", 1, ["A-1", None, 1.5])
    assert len(said["reasons"]) == 1
    assert "bob@example.org" in Path(said["rejects"]).read_text()
    assert said["listed"] == said["ids"]
    assert said["problem"] == "urn:lume:problem:run-not-found"


MISUSES = [
    ('    flow_version: "people:v1",\n', "", "flow_version"),
    ("source_path: source,", "source_path: 7,", "number"),
    ("source_path: source,", "source_path: source, force: true,", "force"),
    ('"/v1/runs/{run_id}", {\n', '"/v1/run/{run_id}", {\n', "/v1/run/"),
    ("path: { run_id: run.id },", "path: { id: run.id },", "run_id"),
    ("limit: 5", 'limit: "5"', "number"),
    ("status: [run.status]", "status: run.status", "string"),
    ("mapped: metrics.rows_mapped", "mapped: metrics.rows_maped", "rows_mapped"),
    ("rejects: target_locations.rejects,", "rejects: target_locations.rejects.length,", "null"),
    ("client.POST(", "client.PUT(", "/v1/runs"),
]


@pytest.mark.timeout(600)
def test_no_misuse_compiles(project: Path) -> None:
    programs = {}
    for number, (right, wrong, _) in enumerate(MISUSES):
        assert PROGRAM.count(right) == 1
        programs[f"misuse_{number}"] = PROGRAM.replace(right, wrong)
    said = compiled(project, **programs)
    for (_, wrong, words), errors in zip(MISUSES, said.values(), strict=True):
        assert any(words in error for error in errors), (wrong, errors)
    print(f"openapi-typescript: one program compiles strictly, {len(MISUSES)} misuses of its types do not")
