"""Tools that find which kind of rule a genome is, after section 3.5 and appendices A and B; see docs/analysis.md."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "field": ("AnalysisError", "UpdateField"),
        "symmetry": ("Asymmetry", "asymmetry"),
        "metric": ("MetricSearch", "metric_of_jacobians", "metric_search"),
        "loops": ("Circulation", "ClosedCurves", "circulation", "closed_curves"),
        "decomposition": ("Decomposition", "decompose"),
        "directions": ("Alignment", "alignment"),
        "longrun": ("LongRun", "long_run"),
        "perturb": ("Sensitivity", "sensitivity"),
        "oja": ("OjaLimit", "oja_limit"),
        "tools": ("TOOLS", "Analysis", "analyze"),
    },
)
