"""Meta-training, transfer tests and analysis in Python, from names, files or objects: what the commands do."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "analyses": ("analyze",),
        "transfers": ("transfer",),
        "meta_training": ("MetaTraining", "evolve", "meta_train"),
    },
)
