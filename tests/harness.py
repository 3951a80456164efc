"""Which parameters of a test the default run has, and what a lowered program calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

from neurograph.testing import usable_kernels

KERNELS = usable_kernels()


def rest_is_thorough(values: Iterable[Any], *quick: Any, slow: Iterable[Any] = ()) -> list[Any]:
    """Values as parameters of a test; the default run has those named, runs by hand alone those in `slow`."""
    mark = lambda value: pytest.mark.slow if value in slow else pytest.mark.thorough  # noqa: E731
    return [pytest.param(value, marks=[] if value in quick else mark(value)) for value in values]


def foreign_calls(lowered: Any) -> set[str]:
    """The calls of a program lowered for CUDA beside that of JAX's random numbers there: native code of a CPU, say."""
    return set(re.findall(r"custom_call @(\w+)", lowered.as_text())) - {"cu_threefry2x32_ffi"}
