"""`lume flow contract`: what it writes is a target of `lume flow map`."""

import json
from pathlib import Path

import pytest
import yaml
from cli.shell import Shell
from click.testing import CliRunner
from local.flows import PEOPLE

from lume_cli._app import app
from lume_local import FlowError, propose
from lume_local._flow.definition import read_definition, read_toml


def test_the_contract_of_a_version_of_the_server(shell: Shell) -> None:
    done = shell.lume("flow", "contract", "people:v1")
    document = yaml.safe_load(done.out)
    assert (done.code, document["kind"], document["name"]) == (0, "DataContract", "people")
    assert shell.lume("flow", "contract", "people:v9").code == 1


def test_the_contract_of_a_file_needs_no_server(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text(PEOPLE)
    found = CliRunner().invoke(app, ["flow", "contract", str(path)])
    assert (found.exit_code, yaml.safe_load(found.stdout)["name"]) == (0, "people")


def test_a_flow_with_a_mistake_has_none(tmp_path: Path) -> None:
    path = tmp_path / "f.toml"
    path.write_text('flow = "f"\nversion = "v1"\n[columns.a]\ntipe = "string"\n')
    found = CliRunner().invoke(app, ["flow", "contract", str(path)])
    assert found.exit_code == 1
    assert "columns.a" in found.stderr


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.toml"
    path.write_text(PEOPLE)
    monkeypatch.setattr(
        "lume_async._base.extras.find_spec", lambda name: None if name == "yaml" else object()
    )
    found = CliRunner().invoke(app, ["flow", "contract", str(path)])
    assert (found.exit_code, "[contracts]" in found.stderr) == (1, True)
    assert "a contract as YAML needs yaml" in found.stderr


async def test_a_sample_is_mapped_to_a_contract(tmp_path: Path) -> None:
    contract, sample = tmp_path / "orders.odcs.yaml", tmp_path / "orders.csv"
    bound = {"type": "sql", "query": "SELECT count(*) FROM {object} WHERE NOT (no < total)", "mustBe": 0}
    document = {
        **{"apiVersion": "v3.0.2", "kind": "DataContract", "id": "a", "version": "2.0.0", "status": "active"},
        "servers": [{"server": "main", "type": "postgres"}],
        "schema": [
            {
                "name": "Orders (all)",
                "properties": [
                    {
                        "name": "no",
                        "logicalType": "integer",
                        "primaryKey": True,
                        "physicalName": "Bestellung",
                    },
                    {"name": "total", "logicalType": "number", "classification": "internal"},
                ],
                "quality": [bound | {"name": "small"}, {"metric": "rowCount", "mustBeGreaterThan": 0}],
            }
        ],
    }
    contract.write_text(yaml.safe_dump(document))
    sample.write_text("Bestellung;total\n1;2.5\n2;3.5\n")
    found = await propose(f"{contract}:Orders (all)", sample)
    assert (found.flow_version, found.unmapped) == ("Orders_all:2.0.0", [])
    assert found.doubts[0] == "left out: servers, which a flow does not have"
    assert "# Not checked: classification, which a flow does not have." in found.toml
    flow = read_toml(found.toml)
    assert read_definition(found.definition) == flow
    assert [(one.name, one.sql) for one in (*flow.rules, *flow.expect)] == [
        ("small", "no < total"),
        ("rowCount", "count(*) > 0"),
    ]
    assert (flow.columns[0].required, flow.columns[0].unique) == (True, True)
    with pytest.raises(FlowError, match="behind a colon"):
        await propose(f"{contract}:none", sample)
    contract.write_text(json.dumps(document))
    assert (await propose(contract, sample, version="v7")).flow_version == "Orders_all:v7"
