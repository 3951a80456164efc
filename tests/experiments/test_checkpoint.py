"""Checkpoints that are damaged, forged, old, or of another precision: refused by name, or read with a line that says so."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurograph as ng
from neurograph.experiments.environment import versions
from neurograph.experiments.folder import checkpoint as module
from neurograph.experiments.folder.checkpoint import load_checkpoint, save_checkpoint

CONFIG = {"training": {"meta_steps": 4}, "seed": 0}


def state_of(value: float) -> dict:
    return {"genome": jnp.full((2, 3), value), "key": jax.random.key(int(value)), "costs": np.array([[value], [1e-300]])}


def saved(folder: Path, **extra) -> Path:
    save_checkpoint(folder / "checkpoint", state_of(2.0), config=CONFIG, extra={"step": 3} | extra)
    return folder / "checkpoint"


def load(path: Path, **options):
    return load_checkpoint(path, state_of(0.0), config=CONFIG, **options)


def same(state: dict, other: dict) -> bool:
    def plain(leaf):
        return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)

    pairs = [(plain(a), plain(b)) for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(other), strict=True)]
    return all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)


def forged(path: Path, body: bytes | None = None, version: int = 2, **changes) -> Path:
    """The file with another header or body and a checksum that fits; what is None is left out."""
    line, _, old = path.read_bytes().partition(b"\n")
    header, body = json.loads(line) | {"version": version} | changes, old if body is None else body
    header = {name: value for name, value in header.items() if value is not None and name != "sha256"}
    if version == 1:
        header = {name: value for name, value in header.items() if name != "environment"}
        if "sha256" not in changes:
            header["sha256"] = hashlib.sha256(body).hexdigest()
        line = json.dumps(header).encode() + b"\n"
    else:
        line = json.dumps(header).encode() + b"\n" if "sha256" in changes else module._with_checksum(header, body)
    path.write_bytes(line + body)
    return path


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def test_what_is_written_is_read(tmp_path: Path):
    state, extra = load(saved(tmp_path))
    assert extra == {"step": 3}
    assert same(state, state_of(2.0))
    assert isinstance(state["costs"], np.ndarray)


def test_a_flipped_bit_anywhere_is_refused_by_name(tmp_path: Path):
    raw = saved(tmp_path).read_bytes()
    path = tmp_path / "flipped"
    head = raw.index(b"\n") + 1
    for place in [*range(head), *range(head, len(raw), 7)]:
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1 << place % 8]) + raw[place + 1 :])
        with pytest.raises(ng.ExperimentError) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: "), str(caught.value)
    for end in (0, 1, head - 1, head, head + 5, len(raw) - 1):
        path.write_bytes(raw[:end])
        with pytest.raises(ng.ExperimentError, match="flipped: "):
            load(path)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("field", ["config", "extra", "sha256"])
def test_a_header_that_lacks_a_field_is_damaged(tmp_path: Path, field: str, version: int):
    with pytest.raises(ng.ExperimentError, match=rf"checkpoint: damaged \(lacks {field}\); delete it to start again"):
        load(forged(saved(tmp_path), version=version, **{field: None}))
    with pytest.raises(ng.ExperimentError, match=rf"lacks {field}"):
        load(forged(saved(tmp_path), version=version, **{field: 3}))


@pytest.mark.parametrize("version", [1, 2])
def test_objects_never_reach_a_loader_of_pickles(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch):
    body = npz(**{"['genome']": np.array([{"a": 1}], dtype=object)})
    for loader in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, loader, lambda *words, **options: pytest.fail("a pickle is opened"))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *words, **options: pytest.fail("NumPy's reader is asked"))
    with pytest.raises(ng.ExperimentError, match=r"checkpoint: damaged .*\['genome'\]\.npy holds pickled objects"):
        load(forged(saved(tmp_path), body, version))
    with pytest.raises(ng.ExperimentError, match=r"checkpoint: damaged .*not a zip file"):
        load(forged(saved(tmp_path), b"\x80\x04N.", version))


def test_arrays_that_are_not_as_written_are_refused(tmp_path: Path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("['genome'].npy", stream.getvalue())
    small = io.BytesIO()
    np.savez_compressed(small, **{"['genome']": np.zeros(10**6)})
    for body, message in (
        (bomb.getvalue(), "buffer is too small"),
        (small.getvalue(), "is compressed"),
        (npz(**{"['other']": np.zeros(1)}), "holds other arrays"),
    ):
        with pytest.raises(ng.ExperimentError, match=message):
            load(forged(saved(tmp_path), body))


def test_all_kinds_of_arrays_read_back(tmp_path: Path):
    state = {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "none": np.zeros((0, 3)), "one": np.array(3.0)}
    state |= {"bits": np.array([True, False]), "whole": np.arange(3, dtype=np.int8)}
    save_checkpoint(tmp_path / "c", state, config={})
    assert same(load_checkpoint(tmp_path / "c", state, config={})[0], state)


def test_a_checkpoint_of_before_goes_on_and_says_what_is_unknown(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    state, extra = load(forged(saved(tmp_path), version=1))
    assert extra == {"step": 3}
    assert same(state, state_of(2.0))
    assert "checkpoint: written by an older version" in caplog.text
    assert "unknown" in caplog.text
    caplog.clear()
    load(saved(tmp_path))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "float64"),
        ("jax", "0.1.2"),
        ("jaxlib", "0.1.2"),
        ("numpy", "1.0"),
        ("neurograph", "0.0.1"),
        ("device", "gpu: H200"),
        ("kernels", "no native code"),
        ("matmul precision", "highest"),
        ("random numbers", "rbg"),
    ],
)
def test_what_decides_the_numbers_is_the_same_or_refused_by_name(tmp_path, name, value, monkeypatch, caplog):
    here = module.deciding() | {"kernels": "native, a compiler"}
    monkeypatch.setattr(module, "deciding", lambda: here)
    path = saved(tmp_path, changes=["neurograph: was 0, now 1"])
    load(path)
    expected = f"{name}: was {json.dumps(here[name])}, now {json.dumps(value)}"
    monkeypatch.setattr(module, "deciding", lambda: here | {name: value})
    with pytest.raises(ng.ExperimentError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {expected}; the run would not go on to the result of one without a stop")
    assert "--allow-changes" in str(caught.value)
    state, extra = load(path, allow_changes=True)
    assert same(state, state_of(2.0))
    assert extra["changes"] == ["neurograph: was 0, now 1", expected]
    assert expected in caplog.text


@pytest.mark.parametrize("version", [1, 2])
def test_another_precision_is_refused_by_name(tmp_path: Path, version: int):
    with jax.enable_x64(True):
        path = forged(saved(tmp_path), version=version)
        assert load(path)[0]["genome"].dtype == "float64"
    with pytest.raises(ng.ExperimentError, match=r"precision: was .?float64.?, now .?float32"):
        load(path)
    state, _ = load(path, allow_changes=True)
    assert same(state, state_of(2.0))


def test_kept_cells_are_of_one_precision():
    single = versions()
    with jax.enable_x64(True):
        assert versions() == single | {"precision": "float64"}
    assert "precision" not in single  # keys of cells that were kept before
