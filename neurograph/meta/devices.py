"""Populations over several devices, and over several hosts: a mesh with one axis, the members of a population.

The same program computes every member on every device, and nothing is summed across devices: a population has the same numbers on
any number of them.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from neurograph.errors import ExperimentError
from neurograph.meta.mapping import AXIS

__all__ = ["connect_hosts", "device_mesh", "on_this_host", "replicated", "several_hosts"]

_HOST_VARIABLES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
CONNECT_TIMEOUT, HEARTBEAT_TIMEOUT = 60, 30  # seconds
_SLURM_VARIABLES = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")


def several_hosts(environment: dict[str, str] | None = None) -> tuple[str, int, int] | None:
    """Returns what the environment says of the processes of this run: `(address, number, count)`, or None for a single one.

    Either all of JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID are set, or SLURM has
    started several tasks (`srun`); the address is then "".

    Raises:
      ExperimentError: only some of the variables are set, or one is not what it should be.
    """
    known = os.environ if environment is None else environment
    given = [name for name in _HOST_VARIABLES if known.get(name)]
    if not given:
        if not all(name in known for name in _SLURM_VARIABLES) or known["SLURM_NTASKS"] == "1":
            return None
        return "", int(known["SLURM_PROCID"]), int(known["SLURM_NTASKS"])
    if missing := [name for name in _HOST_VARIABLES if name not in given]:
        raise ExperimentError(f"{', '.join(given)} set, but not {', '.join(missing)}; expected all three or none")
    try:
        count, number = int(known[_HOST_VARIABLES[1]]), int(known[_HOST_VARIABLES[2]])
    except ValueError as error:
        raise ExperimentError(f"JAX_NUM_PROCESSES, JAX_PROCESS_ID: expected integers ({error})") from error
    if not 0 <= number < count:
        raise ExperimentError(f"JAX_PROCESS_ID: got {number}; expected 0 to {count - 1} (JAX_NUM_PROCESSES is {count})")
    address = known[_HOST_VARIABLES[0]]
    if ":" not in address:
        raise ExperimentError(f"JAX_COORDINATOR_ADDRESS: got {address!r}; expected host:port, such as node1:12345")
    return (address, number, count) if count > 1 else None


def connect_hosts(environment: dict[str, str] | None = None) -> bool:
    """Joins the other processes of this run (`jax.distributed`), if the environment names any: see `several_hosts`.

    It has to be called before JAX computes anything; a second call does nothing.

    Returns:
      True if this process is one of several.

    Raises:
      ExperimentError: see `several_hosts`; or the coordinator is not reached. (When another process dies, or does not come within
        `CONNECT_TIMEOUT` seconds, JAX may end this one: `neurograph meta-train` is a parent that outlives it.)
    """
    several = several_hosts(environment)
    if several is None or jax.distributed.is_initialized():
        return several is not None
    address, number, count = several
    if address:
        arguments: dict[str, Any] = {"coordinator_address": address, "num_processes": count, "process_id": number}
    else:
        arguments = {"cluster_detection_method": "slurm"}
    if jax.config.jax_platforms in ("cpu", None):  # type: ignore[attr-defined]
        # CPUs have no collectives of their own; other devices have.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    timeouts: dict[str, Any] = {"initialization_timeout": CONNECT_TIMEOUT, "heartbeat_timeout_seconds": HEARTBEAT_TIMEOUT}
    try:
        jax.distributed.initialize(**arguments, **timeouts)
    except (RuntimeError, ValueError) as error:
        raise ExperimentError(f"the other processes of this run were not reached: {error}") from error
    return True


def device_mesh(count: int | None = None) -> Mesh | None:
    """Returns a mesh of `count` devices (of several processes: all that they have), None for a single one.

    It joins the other processes first, if there are any: see `connect_hosts`. On a CPU it makes `count` devices, which share the
    cores. Both have to happen before JAX computes anything.

    Raises:
      ExperimentError: there are fewer devices.
    """
    if connect_hosts():
        devices = jax.devices()
        if count is not None and count != len(devices):
            raise ExperimentError(
                f"devices: got {count}; the {jax.process_count()} processes have {len(devices)} together, and all are used"
            )
        return _mesh(devices)
    if count is None or count == 1:
        return None
    make_cpu_devices(count)
    devices = jax.devices()
    if len(devices) < count:
        why = "JAX was already running when they were asked for; start a new process" if devices[0].platform == "cpu" else ""
        why = why or f"this machine has {len(devices)} of kind {devices[0].platform}"
        raise ExperimentError(f"devices: got {count}; there {'are' if len(devices) > 1 else 'is'} {len(devices)} ({why})")
    return _mesh(devices[:count])


def _mesh(devices: list[Any]) -> Mesh:
    return Mesh(np.array(devices), (AXIS,), axis_types=(AxisType.Auto,))


def make_cpu_devices(count: int) -> None:
    """Asks JAX for `count` CPU devices, if it has not started; other kinds of device are not affected."""
    try:
        if int(getattr(jax.config, "jax_num_cpu_devices", -1)) < count and "host_platform_device_count" not in os.environ.get(
            "XLA_FLAGS", ""
        ):
            jax.config.update("jax_num_cpu_devices", count)
    except RuntimeError:  # already started: the caller counts the devices
        pass


def replicated(tree: Any, mesh: Mesh | None) -> Any:
    """Returns the tree whole on every device, inside a compiled function: all devices then compute in the same order."""
    if mesh is None:
        return tree
    return jax.tree.map(lambda leaf: jax.lax.with_sharding_constraint(leaf, NamedSharding(mesh, PartitionSpec())), tree)


def on_this_host(tree: Any, mesh: Mesh | None) -> Any:
    """Returns arrays that devices of a mesh hold in parts, whole on this process's first device.

    It is called between two compiled calls: both see arrays of the same layout, and are compiled once.
    """
    if mesh is None:
        return tree
    several = jax.process_count() > 1

    def one(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)))
        if several and not (leaf.is_fully_addressable or leaf.is_fully_replicated):
            from jax.experimental import multihost_utils

            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        return jnp.asarray(np.asarray(leaf))

    return jax.tree.map(one, tree)
