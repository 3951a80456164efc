"""Versions and devices, for the record and for the keys of stored cells."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import jax

from neurograph.network.kernels import native

__all__ = ["current_environment", "versions"]


def current_environment() -> dict[str, Any]:
    """Returns versions and devices, as a run records them."""
    packages = {}
    for name in ("neurograph", "jax", "jaxlib", "numpy", "optax", "cma", "networkx", "scikit-learn"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages[name] = None
    devices = [f"{d.platform}: {d.device_kind}" for d in jax.devices()]
    system = {"python": platform.python_version(), "system": platform.platform(), "devices": devices}
    return system | {"native CPU code": native.description(), "packages": packages}


def versions() -> dict[str, str]:
    """Returns the versions and the device that decide numbers: part of every key of a stored cell."""
    try:
        own = metadata.version("neurograph")
    except metadata.PackageNotFoundError:
        own = "unknown"
    device = jax.devices()[0]
    return {"neurograph": own, "jax": metadata.version("jax"), "device": f"{device.platform}: {device.device_kind}"}
