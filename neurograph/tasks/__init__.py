"""Tasks: support and query batches from a key, by name or from your own data.

Names are resolved on first use (PEP 562): importing this package imports neither JAX nor tensorflow-datasets.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neurograph.tasks.arrays import ArrayTask, WaysTask
    from neurograph.tasks.base import SPLITS, Batch, Episode, Task, balance_weights, decode_labels, encode_labels
    from neurograph.tasks.build import NORMALIZATIONS
    from neurograph.tasks.cache import cache_dir
    from neurograph.tasks.generated import FunctionTask, function_task
    from neurograph.tasks.mixes import TaskMix, mix
    from neurograph.tasks.own import from_arrays, from_csv, from_frame, from_image_folder, from_npz, from_parquet
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
    "ArrayTask": "arrays",
    "WaysTask": "arrays",
    "SPLITS": "base",
    "Batch": "base",
    "Episode": "base",
    "Task": "base",
    "balance_weights": "base",
    "decode_labels": "base",
    "encode_labels": "base",
    "NORMALIZATIONS": "build",
    "cache_dir": "cache",
    "FunctionTask": "generated",
    "function_task": "generated",
    "TaskMix": "mixes",
    "mix": "mixes",
    "from_arrays": "own",
    "from_csv": "own",
    "from_frame": "own",
    "from_image_folder": "own",
    "from_npz": "own",
    "from_parquet": "own",
    "FIGURE_3_HELD_OUT": "registry",
    "FIGURE_3_TRAIN": "registry",
    "TaskEntry": "registry",
    "get_task": "registry",
    "register_task": "registry",
    "task_entry": "registry",
    "task_names": "registry",
}

__all__ = [
    "FIGURE_3_HELD_OUT",
    "FIGURE_3_TRAIN",
    "NORMALIZATIONS",
    "SPLITS",
    "ArrayTask",
    "Batch",
    "Episode",
    "FunctionTask",
    "Task",
    "TaskEntry",
    "TaskMix",
    "WaysTask",
    "balance_weights",
    "cache_dir",
    "decode_labels",
    "encode_labels",
    "from_arrays",
    "from_csv",
    "from_frame",
    "from_image_folder",
    "from_npz",
    "from_parquet",
    "function_task",
    "get_task",
    "mix",
    "register_task",
    "task_entry",
    "task_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
