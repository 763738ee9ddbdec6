"""TF Serving's cases one by one: what is asked, what is right, and whether the server gave it.

Runs `tests/serving/test_conformance.py` and writes `docs/conformance.md`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CASES = ROOT / "tests" / "serving" / "tf_serving_cases.jsonl"
DECLINED = {"g0", "g2", "c0"}
HEAD = """# Conformance

Cases distilled from TensorFlow Serving's own tests, run against the embedded server by
`tests/serving/test_conformance.py`: REST and gRPC over sockets, the JSON codec by itself. The model
is y = 0.5 x + 2, version 123, label Version_Label. Classify and Regress are out of scope and
answer 501 / UNIMPLEMENTED. This table is written by `benchmarks/conformance.py`.

| case | from | asked | right | given |
|---|---|---|---|---|
"""


def main() -> None:
    outcomes = _outcomes()
    rows = [_row(json.loads(line), outcomes) for line in CASES.read_text().splitlines()]
    (ROOT / "docs" / "conformance.md").write_text(HEAD + "".join(rows), encoding="utf-8")


def _outcomes() -> dict[str, bool]:
    """Whether the test of each case passes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        test = "tests/serving/test_conformance.py"
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", test, f"--junitxml={report}"],
            cwd=ROOT,
            check=False,
            stdout=subprocess.DEVNULL,
        )
        found = ElementTree.parse(report).iter("testcase")
        return {
            name.partition("[")[2].rstrip("]"): not len(case)
            for case in found
            if "[" in (name := case.get("name", ""))
        }


def _row(case: dict[str, Any], outcomes: dict[str, bool]) -> str:
    given = "the same" if outcomes.get(case["id"]) else "**other**"
    if case["id"] in DECLINED and outcomes.get(case["id"]):
        given = "501, out of scope"
    source = case["src"].rpartition("/")[2]
    cells = (case["id"], source, _asked(case), _right(case), given)
    return "| " + " | ".join(cells) + " |\n"


def _asked(case: dict[str, Any]) -> str:
    if case["kind"] == "rest":
        return f"{_code(case['method'] + ' ' + case['path'])} {_code(case['body'])}".strip()
    if case["kind"] == "json_in":
        return f"JSON to tensors: {_code(case['body'])}"
    if case["kind"] == "json_out":
        return f"tensors to JSON, {case['format']}: {_code(json.dumps(case['outputs']))}"
    return f"{case['rpc']} {_code(json.dumps(case['spec']))}"


def _right(case: dict[str, Any]) -> str:
    if case["kind"] == "rest":
        told = case["error_has"] or (json.dumps(case["json"]) if case["json"] else "")
        return f"{case['http']} {_code(told)}".strip()
    if case.get("error_has"):
        return f"{case.get('code', 'error')}: {_code(case['error_has'])}"
    if case["kind"] == "json_in":
        return _code(json.dumps(case["tensors"]))
    if case["kind"] == "json_out":
        return _code(case["json_text"])
    return f"OK {_code(json.dumps(case['expect']['outputs']))}"


def _code(text: str | None) -> str:
    shown = (text or "").replace("|", "\\|")
    return f"`{shown}`" if shown else ""


if __name__ == "__main__":
    main()
