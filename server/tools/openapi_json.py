"""Write lume_local/openapi.json: openapi.yaml for tools, including its examples; `--check` only compares.

python server/tools/openapi_json.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "lume_local"
TARGET = FOLDER / "openapi.json"


def built() -> str:
    """Return the expected content of the file."""
    document = with_examples(yaml.safe_load((FOLDER / "openapi.yaml").read_text()))
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"


def with_examples(value: Any) -> Any:
    """Include the examples, which are files of the tests and missing from the served document."""
    if isinstance(value, list):
        return [with_examples(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "externalValue" in value:
        file = FOLDER / value["externalValue"]
        text = file.read_text()
        return {"value": json.loads(text) if file.suffix == ".json" else text}
    return {key: with_examples(item) for key, item in value.items()}


def main() -> int:
    """Write or compare; return 1 if the file differs."""
    if "--check" in sys.argv[1:]:
        if TARGET.exists() and TARGET.read_text() == built():
            return 0
        sys.stderr.write(f"{TARGET} is out of date: python server/tools/openapi_json.py\n")
        return 1
    TARGET.write_text(built())
    return 0


if __name__ == "__main__":
    sys.exit(main())
