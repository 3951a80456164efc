"""Tasks on workers: this process, processes on this machine, or a Dask cluster. The engine is Dask's; this is the door to it."""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "executor": ("Executor", "Here", "Task", "TaskLost"),
        "makers": ("make_executor",),
    },
)
