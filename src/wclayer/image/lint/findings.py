"""What was found: every finding is counted, the first of each rule and layer are kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from wclayer.errors import UsageError
from wclayer.image.lint.catalogue import RULES
from wclayer.image.lint.rules import Severity, at_least

__all__ = ["Finding", "Findings"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``layer`` names the layer, None for the image; ``path`` is as the layer spells it."""

    rule: str
    severity: Severity
    layer: str | None
    path: str
    evidence: str
    fix: str


class Findings:
    """Collects findings. ``ignored`` rules are left out; at most ``keep`` of a rule are kept for each layer.

    Raises UsageError for a rule that does not exist.
    """

    def __init__(self, *, ignored: Collection[str] = (), keep: int = 20) -> None:
        unknown = sorted(set(ignored) - RULES.keys())
        if unknown:
            raise UsageError(f"there is no rule {unknown[0]}", hint="wclayer lint --list-rules shows them all")
        self._ignored = frozenset(ignored)
        self._keep = keep
        self.layer: str | None = None
        self.listed: list[Finding] = []
        self.counts: dict[tuple[str | None, str], int] = {}

    def add(self, rule_id: str, path: str, evidence: str) -> None:
        """Count a finding in the layer that :attr:`layer` names."""
        if rule_id in self._ignored:
            return
        key = self.layer, rule_id
        count = self.counts[key] = self.counts.get(key, 0) + 1
        if count <= self._keep:
            rule = RULES[rule_id]
            self.listed.append(Finding(rule_id, rule.severity, self.layer, path, evidence, rule.fix))

    def drop(self, rules: Collection[str]) -> None:
        """Forget what these rules found in the present layer, to which they turned out not to apply."""
        self.counts = {key: count for key, count in self.counts.items() if key[0] != self.layer or key[1] not in rules}
        self.listed = [one for one in self.listed if one.layer != self.layer or one.rule not in rules]

    def total(self, least: Severity = "note") -> int:
        """How many findings are at least that grave."""
        return sum(count for (_, rule), count in self.counts.items() if at_least(RULES[rule].severity, least))
