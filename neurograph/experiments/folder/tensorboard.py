"""TensorBoard event files without TensorFlow, by tensorboardX."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

from neurograph.errors import MissingExtraError

__all__ = ["EventWriter"]


class EventWriter:
    """Scalars of a run's records as event files: training/loss/genome_0, validation/accuracy/genome_0, ...

    Args:
      folder: folder of the event files; made if missing.
      step: TensorBoard discards later records of earlier files, since a resumed run writes them again.

    Raises:
      MissingExtraError: tensorboardX is not installed.
    """

    def __init__(self, folder: Path, step: int = 0):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboardX", "tensorboard", "writing TensorBoard event files") from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def record(self, data: dict[str, Any]) -> None:
        """Writes a record of metrics.jsonl; null values and values that are no numbers are left out."""
        part = "validation" if "validation" in data else "training"
        for name, values in (data.get("validation") or data).items():
            if name in ("step", "parents"):
                continue
            several = isinstance(values, list)
            for index, value in enumerate(values if several else [values]):
                if isinstance(value, (int, float)) and math.isfinite(value):
                    place = f"{part}/{name}/genome_{index}" if several else f"{part}/{name}"
                    self._writer.add_scalar(place, value, data["step"])
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
