"""Meta-training and transfer tests: they take minutes, leave a folder, and resume from it."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "experiment": ("Experiment",),
        "final": ("final_test",),
        "folder.catalog": ("RunSummary", "SeedGroup", "find_runs", "group_seeds"),
        "loggers": ("LoggedRun", "Logger"),
        "spec": ("ExperimentSpec", "dump_experiment", "experiment_names", "load_experiment"),
        "train": ("meta_train",),
        "workers.makers": ("make_executor",),
    },
)
