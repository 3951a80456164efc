"""Reading attribute values of graph files: text, numbers or Python objects alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["as_bool", "as_finite", "as_int", "as_label", "numbered", "short"]


def as_bool(value: Any) -> bool:
    """true/false, 1/0, in any case of letters; ValueError otherwise."""
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise ValueError
    return text in ("true", "1")


def as_finite(value: Any) -> float:
    """A finite float; ValueError or TypeError otherwise."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        raise ValueError
    number = float(value)
    if not np.isfinite(number):
        raise ValueError
    return number


def as_int(value: Any) -> int:
    """An integer, also from text or a whole float; ValueError or TypeError otherwise."""
    number = int(value)
    if isinstance(value, (bool, np.bool_)) or number != float(value) or abs(number) >= 2**62:
        raise ValueError
    return number


def as_label(value: Any) -> str:
    """The text that stands for a group: text or a whole number; ValueError otherwise."""
    if isinstance(value, (str, int, np.integer)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    raise ValueError


def numbered(labels: Iterable[str]) -> list[int]:
    """Numbers for labels, by first appearance."""
    ids: dict[str, int] = {}
    return [ids.setdefault(label, len(ids)) for label in labels]


def short(value: Any) -> str:
    """At most 60 characters of a value, for a message."""
    text = repr(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
