"""A folder of images, one subfolder per class, read as arrays."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from neurograph.errors import MissingExtraError, TaskError
from neurograph.tasks.rows import check_bytes

__all__ = ["image_files", "read_folder"]

_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}


def _is_image(file: Path) -> bool:
    # images of other kinds are listed as well, so that they are refused and not left out
    image = file.suffix.lower() in _IMAGES or (mimetypes.guess_type(file.name)[0] or "").startswith("image/")
    return image and not file.name.startswith(".") and file.is_file()


def image_files(folder: Path) -> list[Path]:
    """The images in a folder and below it, sorted."""
    return sorted(file for file in folder.rglob("*") if _is_image(file))


def read_folder(
    root: Path, size: tuple[int, int], gray: bool
) -> tuple[UInt8[np.ndarray, "images height width *channels"], Shaped[np.ndarray, " images"]]:
    """Returns the images below a folder, [N, height, width] or [N, height, width, 3] uint8, and their classes, [N] text.

    Raises:
      TaskError: no images, a class without any, images beside the classes, or a file that is no readable image of 8 bits without
        transparency.
      MissingExtraError: pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError("pillow", "data", f"reading the images in {root}") from error
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    by_class = {folder.name: image_files(folder) for folder in classes}
    files = [file for images in by_class.values() for file in images]
    if not files:
        raise TaskError(
            f"{root}: no images found; expected one subfolder per class with {', '.join(sorted(_IMAGES))} files in it."
        )
    empty = [name for name, images in by_class.items() if not images]
    if empty:
        raise TaskError(f"{root / empty[0]}: no images found; every subfolder is a class.")
    stray = sorted(file for file in root.iterdir() if _is_image(file))
    if stray:
        raise TaskError(f"{stray[0]}: an image beside the classes; expected it in a subfolder, whose name is its class.")
    check_bytes(len(files) * size[0] * size[1] * (1 if gray else 3), str(root))
    images = np.empty((len(files), *size, *(() if gray else (3,))), np.uint8)
    for row, file in enumerate(files):
        try:
            with Image.open(file) as picture:
                images[row] = _pixels(picture, file, size, gray)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            if isinstance(error, TaskError):
                raise
            raise TaskError(f"{file}: no readable image ({error}).") from error
    return images, np.array([name for name, found in by_class.items() for _ in found])


def _pixels(picture: Any, file: Path, size: tuple[int, int], gray: bool) -> np.ndarray:
    """One image upright, resized, in gray or colours; refuses what that would lose."""
    from PIL import Image, ImageOps

    if getattr(picture, "n_frames", 1) > 1:
        raise TaskError(f"{file}: holds {picture.n_frames} images; expected one.")
    if picture.mode.startswith(("I", "F")):
        raise TaskError(f"{file}: has more than 8 bits per pixel (mode {picture.mode}); expected 8.")
    transparent = picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info
    if transparent and picture.convert("RGBA").getextrema()[3][0] < 255:
        raise TaskError(f"{file}: is transparent in places; expected an image with a background.")
    upright = ImageOps.exif_transpose(picture)
    return np.asarray(upright.convert("L" if gray else "RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR))
