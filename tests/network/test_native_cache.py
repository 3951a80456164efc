"""The cache of native code: a library that somebody else may have written is not loaded."""

from __future__ import annotations

import ctypes
import logging
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from neurograph.errors import PlanError
from neurograph.network.kernels import native


@pytest.fixture
def cache(tmp_path: Path, monkeypatch):
    """A cache in which nothing is compiled or loaded: what would be is told."""
    told: list[str] = []
    monkeypatch.setenv("NEUROGRAPH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_compile", lambda _, target, *more: target.write_bytes(b"library") and told.append("compiled"))
    monkeypatch.setattr(ctypes, "CDLL", lambda path: told.append(f"{path}"))

    def library(bits: int = 32, part: str = "") -> list[str]:
        told.clear()
        native._library(["g++"], "1", bits, native.LIBRARIES[part][0])
        return list(told)

    return library


def place_of(cache) -> Path:
    compiled, path = cache()
    assert compiled == "compiled"
    return Path(path)


def test_a_library_is_compiled_once_into_a_place_where_nobody_else_writes(cache, tmp_path: Path):
    before = os.umask(0o002)
    try:
        place = place_of(cache)
    finally:
        os.umask(before)
    assert place.parent == tmp_path / "cache" / "native"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (place, place.parent)] == [0o600, 0o700]
    assert not (tmp_path / "cache").stat().st_mode & native.OTHERS
    assert cache() == [str(place)]
    compiled, other = cache(64)  # a library of its own
    assert (compiled, Path(other).parent) == ("compiled", place.parent)
    assert other != str(place)
    compiled, wide = cache(32, "wide")
    assert compiled == "compiled"
    assert len({str(place), other, wide}) == 3
    assert (cache(), cache(64), cache(32, "wide")) == ([str(place)], [other], [wide])


def test_every_call_is_in_one_library_and_every_file_too():
    files, calls = (sum(parts, ()) for parts in zip(*native.LIBRARIES.values(), strict=True))
    assert sorted(files) == sorted(path.stem for path in native.SOURCES.glob("*.cpp"))
    assert len({*calls}) == len(calls)


@pytest.mark.parametrize("mode", [0o020, 0o002])
@pytest.mark.parametrize("level", ["library", "folder"])
def test_where_others_may_write_it_is_compiled_anew_and_made_private(cache, level: str, mode: int, caplog):
    place = place_of(cache)
    place.write_bytes(b"planted")
    opened = {"library": place, "folder": place.parent}[level]
    opened.chmod(opened.stat().st_mode | mode)
    with caplog.at_level(logging.WARNING):
        assert cache() == ["compiled", str(place)]
    assert f"others may write to {opened}" in caplog.text
    assert place.read_bytes() == b"library"
    assert not opened.stat().st_mode & native.OTHERS
    assert cache() == [str(place)]


def test_in_a_cache_that_others_share_the_library_is_not_kept(cache, tmp_path: Path, caplog):
    place = place_of(cache)
    (tmp_path / "cache").chmod(0o775)
    for _ in range(2):
        compiled, path = cache()
        assert compiled == "compiled"
        assert Path(path).parent.parent != tmp_path / "cache"
        assert not Path(path).exists()  # in a folder of its own, which is gone
    assert f"others may write to {tmp_path / 'cache'}" in caplog.text
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o775
    (tmp_path / "cache").chmod(0o1777)  # as /tmp
    assert cache() == [str(place)]


def test_the_usual_cache_loses_the_right_of_others(cache, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("NEUROGRAPH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = place_of(cache)
    (tmp_path / "neurograph").chmod(0o775)
    assert cache() == ["compiled", str(place)]
    assert cache() == [str(place)]
    assert stat.S_IMODE((tmp_path / "neurograph").stat().st_mode) == 0o755


@pytest.mark.parametrize("level", [0, 1, 2])
def test_what_belongs_to_another_user_is_not_loaded(cache, level: int, monkeypatch, caplog):
    place = place_of(cache)
    foreign = [place, *place.parents][level]
    real, lstat = Path.stat, Path.lstat

    def owned(self, facts):
        return os.stat_result((*facts[:4], 4711, *facts[5:10])) if self == foreign else facts

    monkeypatch.setattr(Path, "stat", lambda self, **options: owned(self, real(self, **options)))
    monkeypatch.setattr(Path, "lstat", lambda self: owned(self, lstat(self)))
    compiled, path = cache()
    assert compiled == "compiled"
    assert f"{foreign} belongs to another user" in caplog.text
    assert path != str(place)


def test_a_call_without_a_library_says_why_and_what_goes_without(monkeypatch):
    native._load.cache_clear()
    try:
        monkeypatch.setenv("CXX", "no-such-compiler")
        with pytest.raises(PlanError, match=r"32 bits is not there \(CXX=no-such-compiler is not found\); NEUROGRAPH_NATIVE"):
            native.empty((1,), np.dtype("float32"), 0, np.zeros(1, "float32"))
    finally:
        native._load.cache_clear()


def test_a_link_is_not_followed(cache, tmp_path: Path, caplog):
    place = place_of(cache)
    place.rename(tmp_path / "elsewhere.so")
    place.symlink_to(tmp_path / "elsewhere.so")
    assert cache() == ["compiled", str(place)]
    assert "is a link" in caplog.text
    assert not place.is_symlink()
