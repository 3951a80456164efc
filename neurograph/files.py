"""Files written whole or not at all, the cache folder, and the environment variables that switch parts off."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["append_line", "cache_dir", "remove_leftovers", "switched_off", "write_atomically"]

TEMPORARY = ".neurograph"  # the ending of files that are being written


def cache_dir() -> Path:
    """$NEUROGRAPH_CACHE, or `neurograph` in the user's cache directory of this system."""
    if chosen := os.environ.get("NEUROGRAPH_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path  # here: most commands need no cache

    return user_cache_path("neurograph", appauthor=False)


def write_atomically(path: Path, data: bytes | str, *, private: bool = False) -> None:
    """Write a file so that a reader, or a crash at any moment, sees the old content or the new, never a part.

    Args:
      private: whether nobody else may read or write it; else it is as open as any other file.

    Raises:
      OSError: the file cannot be written; it names `path`.
    """
    raw = data.encode() if isinstance(data, str) else data
    with _named(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(raw)
                stream.flush()
                os.fsync(stream.fileno())
            if not private:
                os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


def remove_leftovers(folder: Path, names: Iterable[str] = (), older_than: float = 0.0) -> None:
    """Remove temporary files of `write_atomically` that killed processes left in a folder; if there is none, nothing.

    Args:
      names: files whose temporary files were made by earlier versions, and have no ending.
      older_than: seconds; younger ones may belong to a process that writes now.
    """
    before = "|".join(map(re.escape, names))
    pattern = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(TEMPORARY)}" + (rf"|\.({before})\.[a-z0-9_]{{8}}" if before else ""))
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if pattern.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    if not older_than or time.time() - entry.stat(follow_symlinks=False).st_mtime >= older_than:
                        os.unlink(entry.path)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, on the disk when this returns.

    Raises:
      OSError: the file cannot be written; it names `path`.
    """
    with _named(path), path.open("a", encoding="utf-8") as stream:
        stream.write(f"{line}\n")
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names `path` in an OSError of its body: a full disk names no file, and a temporary file is not one that a user knows."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def switched_off(variable: str) -> bool:
    """Whether `variable` (such as NEUROGRAPH_NATIVE) is 0, false, no or off, in any case."""
    return os.environ.get(variable, "1").lower() in ("0", "false", "no", "off")
