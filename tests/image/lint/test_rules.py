"""The catalogue of rules."""

from __future__ import annotations

import re

import pytest

from wclayer.errors import UsageError
from wclayer.image.lint import RULES, Findings, Rule, at_least


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_rule_says_what_happens_and_what_to_do(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.id)
    assert len(rule.why) > 20
    assert rule.fix


def test_severities_are_ordered() -> None:
    assert at_least("error", "warning")
    assert at_least("warning", "warning")
    assert not at_least("note", "warning")


def test_every_finding_is_counted_and_the_first_are_kept() -> None:
    findings = Findings(keep=2)
    findings.layer = "top"
    for number in range(5):
        findings.add("path-long", str(number), "long")
    findings.add("duplicate-entry", "x", "twice")
    assert findings.counts == {("top", "path-long"): 5, ("top", "duplicate-entry"): 1}
    assert [one.path for one in findings.listed] == ["0", "1", "x"]
    assert findings.total() == 6
    assert findings.total("error") == 1


def test_an_ignored_rule_finds_nothing() -> None:
    findings = Findings(ignored=["path-long"])
    findings.add("path-long", "x", "long")
    assert findings.total() == 0


def test_a_rule_that_does_not_exist_cannot_be_ignored() -> None:
    with pytest.raises(UsageError, match="there is no rule nonsense"):
        Findings(ignored=["nonsense"])


def test_dropped_rules_are_forgotten_in_the_present_layer_only() -> None:
    findings = Findings()
    for layer in ("a", "b"):
        findings.layer = layer
        findings.add("no-hives-root", "", "none")
    findings.drop(["no-hives-root"])
    assert findings.counts == {("a", "no-hives-root"): 1}
    assert [one.layer for one in findings.listed] == ["a"]
