"""Getting a data set of tensorflow-datasets onto this machine, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neurograph.errors import MissingExtraError, TaskError
from neurograph.tasks.tfds.stored import NotStored, find, search_path

__all__ = ["prepare"]

# Where the official files lie. Asked once, with a time limit, before tensorflow-datasets starts: its ten retries take minutes.
_HOSTS = {
    "mnist": "https://storage.googleapis.com",
    "fashion_mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "kmnist": "http://codh.rois.ac.jp",
    "emnist": "https://biometrics.nist.gov",
    "omniglot": "https://github.com",
}
_ELSEWHERE = "https://storage.googleapis.com"


def prepare(name: str, data_dir: str | os.PathLike[str] | None = None, *, timeout: float = 10.0) -> Path:
    """Download a data set and write it as array_record; if it is there already, nothing is done.

    Args:
      name: as in the catalogue of tensorflow-datasets, with configuration.
      data_dir: where to; default $TFDS_DATA_DIR or ~/tensorflow_datasets.
      timeout: seconds to wait for the first answer of the server.

    Returns:
      The folder with dataset_info.json.

    Raises:
      TaskError: no such set, no connection, or the preparation failed; nothing is left behind.
      MissingExtraError: tensorflow-datasets, or TensorFlow where the set is written through it, is not installed.
    """
    root = search_path(data_dir)
    with contextlib.suppress(NotStored):
        return find(name, root).folder
    family = name.partition("/")[0]
    purpose = f"the first preparation of data set {name!r}"
    if importlib.util.find_spec("tensorflow_datasets") is None:
        raise MissingExtraError("tensorflow-datasets", "prepare", purpose)
    if family in _HOSTS and importlib.util.find_spec("tensorflow") is None:
        raise MissingExtraError("tensorflow", "prepare", purpose)
    _ask(name, _HOSTS.get(family, _ELSEWHERE), timeout)
    kept = next(folder for folder in (root, *root.parents) if folder.exists())
    before = _children(root)
    try:
        with tempfile.TemporaryDirectory(prefix="neurograph-download-") as downloads, _few_retries():
            _download(name, root, downloads)
    except BaseException as error:
        _remove_new(root, before, kept)
        if isinstance(error, ImportError) and not isinstance(error, MissingExtraError):
            raise MissingExtraError(error.name or "tensorflow", "prepare", purpose) from error
        if isinstance(error, (TaskError, MissingExtraError)) or not isinstance(error, Exception):
            raise
        if isinstance(error, ConnectionError) or type(error).__module__.startswith("requests"):
            raise TaskError(_offline(name, f"the connection failed ({type(error).__name__})")) from error
        text = " ".join(str(error).split())
        raise TaskError(
            f"preparing data set {name!r} failed ({type(error).__name__}: {text[:300]}); nothing was kept."
        ) from error
    return find(name, root).folder


def _download(name: str, root: Path, downloads: str) -> None:
    import tensorflow_datasets as tfds

    try:
        builder: Any = tfds.builder(name, data_dir=str(root), file_format="array_record", try_gcs=False)
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TaskError(f"tensorflow-datasets has no set {name!r}: {first}") from error
    builder.download_and_prepare(download_dir=downloads)


def _ask(name: str, url: str, timeout: float) -> None:
    import requests

    try:
        requests.head(url, timeout=timeout, allow_redirects=False)
    except requests.RequestException as error:
        raise TaskError(_offline(name, f"no answer from {url} ({type(error).__name__})")) from error


def _offline(name: str, reason: str) -> str:
    return (
        f"data set {name!r} cannot be downloaded: {reason}.\n"
        "  run the command on a machine that is online, copy its data, and name the folder by --data-dir or TFDS_DATA_DIR\n"
        "  without it: task 'digits' is embedded and needs no data (8x8 handwritten digits, 10 classes)"
    )


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """A download that fails shall fail soon."""
    try:
        from tensorflow_datasets.core.download import downloader
    except ImportError:
        yield
        return
    before = getattr(downloader, "MAX_RETRIES", None)
    if before is None:
        yield
        return
    downloader.MAX_RETRIES = 2
    try:
        yield
    finally:
        downloader.MAX_RETRIES = before


def _children(root: Path) -> set[Path]:
    """Files and folders down to the third level: <set>/<configuration>/<version>."""
    return {path for pattern in ("*", "*/*", "*/*/*") for path in root.glob(pattern)}


def _remove_new(root: Path, before: set[Path], kept: Path) -> None:
    for path in sorted(_children(root) - before, key=lambda path: len(path.parts)):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    folder = root
    while folder != kept and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
