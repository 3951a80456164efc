"""Tasks: support and query batches from a key, by name or from your own data.

Names are resolved on first use (PEP 562): importing this package imports neither JAX nor tensorflow-datasets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurograph.tasks.base import (
        SPLITS,
        Batch,
        Episode,
        Task,
        balance_weights,
        decode_labels,
        encode_labels,
    )
    from neurograph.tasks.generated import FunctionTask, function_task
    from neurograph.tasks.registry import (
        FIGURE_3_HELD_OUT,
        FIGURE_3_TRAIN,
        TaskEntry,
        get_task,
        register_task,
        task_entry,
        task_names,
    )

_HOMES = {
    "base": ("SPLITS", "Batch", "Episode", "Task", "balance_weights", "decode_labels", "encode_labels"),
    "generated": ("FunctionTask", "function_task"),
    "registry": (
        "FIGURE_3_HELD_OUT",
        "FIGURE_3_TRAIN",
        "TaskEntry",
        "get_task",
        "register_task",
        "task_entry",
        "task_names",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - as in _HOMES
    "SPLITS",
    "Batch",
    "Episode",
    "Task",
    "balance_weights",
    "decode_labels",
    "encode_labels",
    "FunctionTask",
    "function_task",
    "FIGURE_3_HELD_OUT",
    "FIGURE_3_TRAIN",
    "TaskEntry",
    "get_task",
    "register_task",
    "task_entry",
    "task_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
