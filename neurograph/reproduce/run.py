"""Runs a reproduction: means, module, verdict."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neurograph.errors import ExperimentError
from neurograph.experiments.folder.lock import locked
from neurograph.experiments.workers.executor import Executor
from neurograph.reproduce import RECIPES, REPRODUCTIONS, Entry
from neurograph.reproduce.verdict import Result, conclude
from neurograph.reproduce.workbench import Workbench

__all__ = ["checked", "folder_of", "reproduce"]


def folder_of(out: Path | str, recipe: str) -> Path:
    """Returns the folder of all scales of a recipe: what one recipe finds never stands beside what another found."""
    return Path(out) if recipe == "shipped" else Path(out) / recipe


def checked(name: str, recipe: str) -> Entry:
    """Returns the entry of a reproduction, which goes with the recipe.

    Raises:
      ExperimentError: it does not, or there is no such reproduction or recipe.
    """
    if name not in REPRODUCTIONS:
        raise ExperimentError(f"{name}: no such reproduction; there are: {', '.join(REPRODUCTIONS)}")
    if recipe not in RECIPES:
        raise ExperimentError(f"recipe: got {recipe!r}; allowed: {', '.join(RECIPES)}")
    if recipe != "shipped" and not REPRODUCTIONS[name].any_recipe:
        able = ", ".join(key for key, entry in REPRODUCTIONS.items() if entry.any_recipe)
        why = "sets rule, start or rates itself" if REPRODUCTIONS[name].trains else "meta-trains nothing"
        raise ExperimentError(f"recipe: {name} {why}; recipe {recipe} goes with: {able}")
    return REPRODUCTIONS[name]


def reproduce(
    name: str,
    scale: str = "laptop",
    out: Path | str = Path("runs/reproduce"),
    *,
    executor: Executor | None = None,
    seeds: int | None = None,
    allow_changes: bool = False,
    recipe: str = "shipped",
    say: Callable[[str], None] = lambda text: None,
) -> Result:
    """Runs one of `REPRODUCTIONS`; its files are in OUT/SCALE/NAME, by the recipe as printed in OUT/printed/SCALE/NAME.

    Arguments as of `Workbench`.

    Raises:
      ExperimentError: an unknown name, scale or recipe; a recipe that the reproduction does not go with; or another process
        writes the same folder.
      TaskError: data that are not there; the text says how to get them.
    """
    entry = checked(name, recipe)
    begun = time.perf_counter()
    out = folder_of(out, recipe)
    with locked(out / scale / name):
        options: dict[str, Any] = {
            "executor": executor,
            "seeds": seeds,
            "allow_changes": allow_changes,
            "recipe": recipe,
            "say": say,
        }
        bench = Workbench(name, scale, out, **options)
        findings, settings = importlib.import_module(entry.module).run(bench)
        if recipe != "shipped" and bench.recipe_words not in settings:
            settings += f" {bench.recipe_words}"
        return conclude(bench, findings, settings, time.perf_counter() - begun)
