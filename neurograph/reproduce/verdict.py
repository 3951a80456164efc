"""Findings of a reproduction, one by one, and the paragraph made of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from neurograph.experiments.environment import current_environment
from neurograph.reproduce import REPRODUCTIONS
from neurograph.reproduce.workbench import Workbench

__all__ = ["Finding", "Result", "conclude"]


@dataclass(frozen=True)
class Finding:
    """A claim and the numbers that were seen.

    Attributes:
      claim: the paper's, in our words (of a `question` what it asks).
      seen: numbers, with how many runs they are over.
      holds: whether the numbers support the claim; None for a figure without a claim.
      reason: the likely reason where the claim does not hold or falls short.
    """

    claim: str
    seen: str
    holds: bool | None
    reason: str = ""

    @property
    def mark(self) -> str:
        return {True: "holds", False: "does not hold", None: "seen"}[self.holds]

    def text(self, form: str = "{claim}. {mark}: ") -> str:
        """Returns the finding in words; `form` is how claim and mark stand before the numbers."""
        before = form.format(claim=self.claim.rstrip("."), mark=self.mark.capitalize())
        why = f" Likely reason: {self.reason.rstrip('.')}." if self.reason and self.holds is False else ""
        return f"{before}{self.seen.rstrip('.')}.{why}"


@dataclass(frozen=True)
class Result:
    """The content of `result.json`; `recipe`, `version` and `seeds` (None: its own number) are those it ran with."""

    name: str
    scale: str
    figure: str
    title: str
    findings: tuple[Finding, ...]
    verdict: str
    counts: dict[str, int]
    settings: str
    seconds: float
    files: tuple[str, ...]
    environment: dict[str, Any] = field(default_factory=dict)
    recipe: str = "shipped"
    version: int = 1
    seeds: int | None = None

    @property
    def paragraph(self) -> str:
        """Returns the verdict in words."""
        parts = [f"{self.title} ({self.figure}), {self.scale} scale: {self.verdict}."]
        parts += [finding.text() for finding in self.findings]
        parts += [self.counting, self.settings]
        return " ".join(parts)

    @property
    def counting(self) -> str:
        """Returns the numbers of runs, failures and configurations as a sentence."""
        counts = self.counts
        if not counts["runs"] and not counts["tests"]:
            return "Nothing is meta-trained or tested."
        text = f"{counts['runs']} meta-training runs ({counts['training_seconds']:,} s), {counts['lost']} lost;"
        text += f" {counts['tests']} tested networks, {counts['diverged']} diverged"
        if counts["configurations"]:
            text += f"; baselines: {counts['configurations']} configurations in {counts['baseline_runs']} runs,"
            text += f" {counts['baseline_failures']} diverged"
        return text + "."

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Result:
        data = data | {"findings": tuple(Finding(**one) for one in data["findings"]), "files": tuple(data["files"])}
        return cls(**data)


def conclude(bench: Workbench, findings: list[Finding], settings: str, seconds: float) -> Result:
    """Writes result.json and verdict.txt.

    The verdict is "reproduced" where all claims hold, "not reproduced" where none does, else "reproduced in part"; without a
    claim "seen". Questions that the paper does not ask are "answered", "not answered" or "answered in part". At smoke scale
    nothing is judged.

    Args:
      settings: a sentence on sizes, seeds and what was chosen how.
      seconds: computing time of this call.
    """
    entry = REPRODUCTIONS[bench.name]
    held = [finding.holds for finding in findings if finding.holds is not None]
    if bench.scale == "smoke":
        findings = [Finding(one.claim, one.seen, None) for one in findings]
        verdict = "not judged, the sizes only show that it runs"
    elif not held:
        verdict = "seen, no claim to judge"
    else:
        verdict = "answered" if entry.question else "reproduced"
        verdict = verdict if all(held) else f"not {verdict}" if not any(held) else f"{verdict} in part"
    runs = list(bench.trained.values())
    counts = {"runs": len(runs), "lost": sum(run.genome is None for run in runs)}
    counts |= {name: bench.counts[name] for name in ("tests", "diverged", "configurations", "baseline_runs", "baseline_failures")}
    counts["training_seconds"] = round(sum(run.summary["seconds"] for run in runs if run.genome is not None))
    result = Result(
        bench.name,
        bench.scale,
        entry.figure,
        entry.title,
        tuple(findings),
        verdict,
        counts,
        settings,
        round(seconds, 1),
        tuple(bench.files),
        current_environment(),
        bench.recipe_name,
        entry.version,
        bench.own_seeds,
    )
    bench.write("verdict.txt", result.paragraph + "\n")
    bench.write("result.json", json.dumps(result.to_dict(), indent=1) + "\n")
    return result
