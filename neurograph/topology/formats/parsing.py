"""Reading attribute values of graph files: text, numbers or Python objects alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["as_bool", "as_finite", "as_int", "as_label", "numbered", "short"]

_HEXADECIMAL = re.compile(r"\s*[-+]?0[xX][0-9a-fA-F]+(\.[0-9a-fA-F]*)?([pP][-+]?[0-9]+)?\s*")


def as_bool(value: Any) -> bool:
    """true/false, 1/0, in any case of letters; ValueError otherwise."""
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise ValueError
    return text in ("true", "1")


def as_finite(value: Any) -> float:
    """A finite float, also from text, decimal or hexadecimal (graph-tool writes 0x1.8p+1); ValueError or TypeError otherwise."""
    if isinstance(value, (bool, np.bool_)) or value is None:
        raise ValueError
    if isinstance(value, str) and _HEXADECIMAL.fullmatch(value):
        number = float.fromhex(value)
    else:
        number = float(_plain_number(value))
    if not np.isfinite(number):
        raise ValueError
    return number


def as_int(value: Any) -> int:
    """An integer, also from text or a whole float; ValueError or TypeError otherwise."""
    number = int(_plain_number(value))
    if isinstance(value, (bool, np.bool_)) or number != float(value) or abs(number) >= 2**62:
        raise ValueError
    return number


def _plain_number(value: Any) -> Any:
    """`value`; ValueError if it is text that only Python reads as a number, such as 1_000."""
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError
    return value


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
