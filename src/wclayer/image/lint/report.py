"""A lint report as plain values: for JSON, and as SARIF 2.1.0, which code hosts show beside the code."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from wclayer._version import __version__
from wclayer.image.lint.catalogue import RULES
from wclayer.image.lint.findings import Finding
from wclayer.image.lint.rules import SEVERITIES
from wclayer.image.lint.run import LintReport

__all__ = ["json_document", "sarif_document"]

_SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def json_document(report: LintReport) -> dict[str, Any]:
    """Findings and their numbers. ``counts`` has all of them, ``findings`` the first of each rule and layer."""
    found = report.findings
    return {
        "target": report.target,
        "layers": [{"layer": layer, "role": role} for layer, role in report.layers.items()],
        "severities": {name: _of_severity(report, name) for name in SEVERITIES},
        "counts": [
            {"layer": layer, "rule": rule, "severity": RULES[rule].severity, "count": count}
            for (layer, rule), count in found.counts.items()
        ],
        "findings": [{**asdict(one), "why": RULES[one.rule].why} for one in found.listed],
    }


def sarif_document(report: LintReport) -> dict[str, Any]:
    """One run of a SARIF log."""
    found = report.findings
    used = list(dict.fromkeys(one.rule for one in found.listed))
    return {
        "$schema": _SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "wclayer",
                        "version": __version__,
                        "rules": [_sarif_rule(rule) for rule in used],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(report, one, used.index(one.rule)) for one in found.listed],
            }
        ],
    }


def _of_severity(report: LintReport, severity: str) -> int:
    return sum(count for (_, rule), count in report.findings.counts.items() if RULES[rule].severity == severity)


def _sarif_rule(rule_id: str) -> dict[str, Any]:
    rule = RULES[rule_id]
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.why},
        "help": {"text": rule.fix + (f" ({', '.join(rule.sources)})" if rule.sources else "")},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sarif_result(report: LintReport, one: Finding, index: int) -> dict[str, Any]:
    where = f"layer {one.layer}" if one.layer is not None else "the image"
    text = f"{where}, {one.path}: {one.evidence}" if one.path else f"{where}: {one.evidence}"
    name = f"{one.layer or report.target}::{one.path}"
    return {
        "ruleId": one.rule,
        "ruleIndex": index,
        "level": one.severity,
        "message": {"text": _scalar(text)},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(_scalar(report.target))}},
                "logicalLocations": [{"fullyQualifiedName": _scalar(name), "kind": "resource"}],
            }
        ],
    }


def _scalar(text: str) -> str:
    """``text`` with lone surrogates escaped, which SARIF readers do not take."""
    return text.encode("utf-8", "backslashreplace").decode()
