"""The store of a transfer matrix: one file per cell, under a key of everything that decides its numbers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from neurograph.documents import parse_json
from neurograph.errors import ExperimentError, RuleError
from neurograph.experiments.workers.worker import worker_name
from neurograph.files import write_atomically
from neurograph.genome import AnyGenome, Genome, effective_fields
from neurograph.genome.rule import Rule
from neurograph.tasks import Task

__all__ = ["FIRST_ARRAYS", "FIRST_OPTIONS", "FORMAT", "genome_key", "keep_cell", "require_data", "stored_cell", "task_key"]


FORMAT = "neurograph-transfer-cell"

# Options of a rule and arrays of a genome that the first stored cells knew. Of all others, those without effect stand in no key:
# cells of before are found again, whatever is added to rules and genomes.
FIRST_OPTIONS = frozenset(
    [
        "states",
        "forward_activation",
        "backward_activation",
        "output_activation",
        "backward_update",
        "symmetric",
        "single_state_synapses",
        "normalization",
        "normalize_outputs",
        "feedback",
        "hebbian_pre",
        "forward_synapse_update",
        "oja",
        "oja_scale",
        "synapse_normalization",
        "rescale",
        "saturation",
        "saturation_eps",
        "reset_states",
        "supervise_every",
        "batch_reduction",
        "noise",
        "initial_distribution",
        "initial_deviation",
    ]
)
FIRST_ARRAYS = frozenset(
    [
        "forward_transform",
        "backward_transform",
        "pre_transform",
        "post_transform",
        "forward_pre_transform",
        "forward_post_transform",
        "forward_scale",
        "forward_shift",
        "backward_scale",
        "backward_shift",
        "neuron_keep",
        "neuron_update",
        "synapse_keep",
        "synapse_update",
        "forward_synapse_keep",
        "forward_synapse_update",
        "oja_multiplier",
        "rescale",
        "saturation",
        "initial_deviation",
    ]
)


def genome_key(genome: AnyGenome, rule: Rule) -> dict[str, Any] | None:
    """Returns the part of a key that stands for a genome; None, and no cell is kept, if an activation of its rule has no name."""
    try:
        options, first = rule.to_dict(), Rule().to_dict()
    except RuleError:
        return None
    options = {name: value for name, value in options.items() if name in FIRST_OPTIONS or value != first[name]}
    idle = {field.name for field in dataclasses.fields(Genome)} - FIRST_ARRAYS - {*effective_fields(rule)}
    arrays = _without(genome.to_dict(), idle)
    return {"rule": options, "layers_by": getattr(genome, "by", None), "arrays": _digest(arrays)}


def _without(arrays: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Returns the arrays, of a genome or of each layer, without those of these names."""
    return {k: _without(v, names) if isinstance(v, dict) else v for k, v in arrays.items() if k not in names}


def task_key(task: Task, name: str) -> dict[str, Any]:
    """Returns the part of a key that stands for a task and its data."""
    content = hashlib.sha256()
    for leaf in jax.tree.leaves(task):
        array = np.asarray(leaf)
        content.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    key = {"name": name, "task": task.name, "data": content.hexdigest()}
    return key if task.num_classes else key | {"score": "r2"}


def require_data(task: Task, name: str, checksum: str) -> None:
    """Raises `ExperimentError` if the data of this process's task are not those of the process that asks, by their checksum."""
    ours = task_key(task, "")["data"]
    if ours != checksum:
        raise ExperimentError(
            f"{worker_name()}: its data of task {name} have the checksum {ours[:12]}; those of the process that asks have"
            f" {checksum[:12]}"
        )


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _path(store: Path, key: dict[str, Any]) -> Path:
    return store / f"{_digest(key)[:32]}.json"


def stored_cell(store: Path | None, key: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns a finished cell; None if there is none, or its file is damaged or holds another cell."""
    if store is None or key is None:
        return None
    try:
        data = parse_json(_path(store, key).read_text(encoding="utf-8"))
        if data["format"] == FORMAT and data["key"] == key and data["sum"] == _digest(data["cell"]):
            return data["cell"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def keep_cell(store: Path | None, key: dict[str, Any] | None, cell: dict[str, Any]) -> None:
    """Writes plain data under a hash of its key; nothing without a store or key."""
    if store is None or key is None:
        return
    store.mkdir(parents=True, exist_ok=True)
    path = _path(store, key)
    write_atomically(path, json.dumps({"format": FORMAT, "key": key, "sum": _digest(cell), "cell": cell}) + "\n")
