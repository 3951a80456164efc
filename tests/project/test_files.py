"""Files on a disk that is full, or gone: what was there stays, the error names the file, nothing is left over."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neurograph.files import append_line, write_atomically

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO]


@pytest.mark.parametrize("place", ["fsync", "replace", "fdopen"])
@pytest.mark.parametrize("number", ERRORS, ids=errno.errorcode.get)
def test_a_file_that_cannot_be_written_is_named_and_stays(tmp_path: Path, monkeypatch, place: str, number: int):
    path = tmp_path / "checkpoint"
    write_atomically(path, "before")

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, place, fail)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        write_atomically(path, "after")
    assert (caught.value.errno, caught.value.filename, caught.value.filename2) == (number, str(path), None)
    assert str(caught.value) == f"[Errno {number}] {os.strerror(number)}: {str(path)!r}"
    assert [one.name for one in tmp_path.iterdir()] == ["checkpoint"]
    assert path.read_text() == "before"


def test_a_folder_that_is_gone_is_told_by_the_file(tmp_path: Path):
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "metrics.jsonl"
    append_line(path, "1")
    append_line(path, "2")
    assert path.read_text() == "1\n2\n"
    shutil.rmtree(path.parent)
    for write in (append_line, write_atomically):
        with pytest.raises(FileNotFoundError) as caught:
            write(path, "3")
        assert caught.value.filename == str(path)


def test_a_line_that_does_not_fit_names_its_file():
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        append_line(Path("/dev/full"), "1")


def test_a_limit_of_file_sizes_is_one_line_that_names_the_file(tmp_path: Path):
    """For the whole command."""
    command = ["sh", "-c", 'ulimit -f 8; exec "$@"', "sh", sys.executable, "-m", "neurograph"]
    command += ["topology", "convert", "mlp", str(tmp_path / "mlp.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (
        2,
        "",
        f"error: {tmp_path / 'mlp.json'}: cannot be written (File too large).\n",
    )
    assert list(tmp_path.iterdir()) == []
