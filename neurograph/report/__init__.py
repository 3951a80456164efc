"""Everything that people look at: figures and self-contained pages, made from files and results."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "analysis": ("write_page",),
        "compare": ("write_comparison",),
        "run": ("write_report",),
        "transfer": ("holds_matrix", "write_transfer_report"),
        "figures.genome": ("draw_genome", "genome_picture"),
        "figures.sketch": ("sketch",),
        "figures.tasks": ("draw_samples",),
        "figures.topology": ("draw_topology",),
        "figures.transfer": ("curves_figure", "heat_map", "save_figures"),
    },
)
