"""Versions and devices, for the record and for the keys of stored cells."""

from __future__ import annotations

import platform
from functools import lru_cache
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from neurograph.network.kernels import native

__all__ = ["current_environment", "deciding", "versions"]


def current_environment() -> dict[str, Any]:
    """Returns versions and devices, as a run records them."""
    names = ("neurograph", "jax", "jaxlib", "numpy", "optax", "cma", "networkx", "scikit-learn")
    packages = {name: _version(name) for name in names}
    devices = [f"{d.platform}: {d.device_kind}" for d in jax.devices()]
    system = {"python": platform.python_version(), "system": platform.platform(), "devices": devices}
    return system | {"native CPU code": native.description(), "packages": packages}


def versions() -> dict[str, str]:
    """Returns the versions and the device that decide numbers: part of every key of a stored cell."""
    device = jax.devices()[0]
    device_kind = f"{device.platform}: {device.device_kind}"
    found = {"neurograph": _version("neurograph") or "unknown", "jax": metadata.version("jax"), "device": device_kind}
    precision = str(jnp.result_type(float))
    return found | ({} if precision == "float32" else {"precision": precision})  # cells of before are found again


def deciding() -> dict[str, str | None]:
    """Returns what decides the numbers of a run beside its configuration: under the same, a run goes on to the same bits."""
    packages = {name: _version(name) for name in ("neurograph", "jax", "jaxlib", "numpy", "optax", "cma")}
    native_code = native.description()
    partitionable = ", partitionable" if jax.config.jax_threefry_partitionable else ""  # type: ignore[attr-defined]
    return {
        "precision": str(jnp.result_type(float)),
        "matmul precision": str(jax.config.jax_default_matmul_precision or "default"),  # type: ignore[attr-defined]
        "random numbers": f"{jax.config.jax_default_prng_impl}{partitionable}",  # type: ignore[attr-defined]
        "device": versions()["device"],
        "kernels": "no native code" if native_code.startswith("none") else native_code,
    } | packages


@lru_cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
