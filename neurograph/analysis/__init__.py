"""What kind of rule is a genome? Tools after section 3.5 and appendices A and B; see docs/analysis.md.

Names are resolved when they are first used, so that importing this package loads nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES: dict[str, tuple[str, ...]] = {
    "field": ("AnalysisError", "UpdateField"),
    "symmetry": ("Asymmetry", "asymmetry"),
    "metric": ("MetricSearch", "metric_of_jacobians", "metric_search"),
    "loops": ("Circulation", "ClosedCurves", "circulation", "closed_curves"),
    "parts": ("Decomposition", "decompose"),
    "descent": ("Alignment", "alignment", "feedback_alignment_step"),
    "longrun": ("LongRun", "long_run"),
    "perturb": ("Sensitivity", "sensitivity"),
    "oja": ("OjaLimit", "oja_limit"),
    "page": ("TOOLS", "analyze"),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neurograph.analysis' has no attribute {name!r}")
    return getattr(importlib.import_module(f"neurograph.analysis.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
