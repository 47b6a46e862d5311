"""Results of cases as JUnit XML, which build servers show."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

from streams.cases.run import Result


def junit(results: Mapping[Path, Sequence[Result]]) -> bytes:
    """Gives a document with one suite a file."""
    every = [result for of_file in results.values() for result in of_file]
    root = ET.Element("testsuites", {"name": "headrace test", **_counts(every)})
    for path, of_file in results.items():
        suite = ET.SubElement(root, "testsuite", {"name": str(path), **_counts(of_file)})
        for result in of_file:
            place = {"classname": path.name, "file": str(path), "line": str(result.case.line)}
            case = ET.SubElement(suite, "testcase", {"name": result.case.name, **place, "time": f"{result.seconds:.3f}"})
            if result.problems:
                ET.SubElement(case, "failure", {"message": result.problems[0]}).text = "\n".join(result.problems)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _counts(results: Sequence[Result]) -> dict[str, str]:
    return {"tests": str(len(results)), "failures": str(sum(bool(result.problems) for result in results))}
