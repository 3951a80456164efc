"""Parts of neurograph that an environment variable switches off."""

from __future__ import annotations

import os

__all__ = ["switched_off"]


def switched_off(variable: str) -> bool:
    """Whether `variable` (such as NEUROGRAPH_NATIVE) is 0, false, no or off, in any case."""
    return os.environ.get(variable, "1").lower() in ("0", "false", "no", "off")
