"""Tasks: support and query batches from a key, by name or from your own data.

Importing this package imports neither JAX nor tensorflow-datasets.
"""

from neurograph._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "arrays": ("ArrayTask", "WaysTask"),
        "base": ("SPLITS", "Batch", "Episode", "Task", "balance_weights", "decode_labels", "encode_labels"),
        "build": ("NORMALIZATIONS",),
        "generated": ("FunctionTask", "function_task"),
        "mixes": ("TaskMix", "mix"),
        "own_data": ("from_arrays", "from_image_folder", "from_npz"),
        "tables": ("from_csv", "from_frame", "from_parquet"),
        "registry": (
            "FIGURE_3_HELD_OUT",
            "FIGURE_3_TRAIN",
            "TaskEntry",
            "get_task",
            "register_task",
            "task_entry",
            "task_names",
        ),
        "tfds.cache": ("cache_dir",),
    },
)
