"""Predicting on any system what Windows would refuse in a layer, or import otherwise than was meant."""

from wclayer.image.lint.catalogue import RULES
from wclayer.image.lint.findings import Finding, Findings
from wclayer.image.lint.report import json_document, sarif_document
from wclayer.image.lint.rules import SEVERITIES, Rule, Severity, at_least
from wclayer.image.lint.run import LintReport, Role, lint

__all__ = [
    "RULES",
    "SEVERITIES",
    "Finding",
    "Findings",
    "LintReport",
    "Role",
    "Rule",
    "Severity",
    "at_least",
    "json_document",
    "lint",
    "sarif_document",
]
