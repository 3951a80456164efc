"""Tasks from data: transformations, the cache, your own files, and real sets of tensorflow-datasets where they are there."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from click.testing import CliRunner

from neurograph.cli.task import task as command
from neurograph.errors import MissingExtraError, TaskError
from neurograph.tasks import from_arrays, from_csv, from_frame, from_image_folder, from_parquet, get_task
from neurograph.tasks.build import carve, select_classes
from neurograph.tasks.images import crop_center, resize
from neurograph.tasks.tfds.cache import cached
from neurograph.tasks.tfds.datasets import _by_characters
from neurograph.tasks.tfds.stored import find

REAL = Path(__file__).resolve().parents[3] / "shared" / "tfds"
KEY = jax.random.key(5)
SOME = np.random.default_rng(0)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def real(monkeypatch, session_cache):
    pytest.importorskip("tensorflow_datasets", reason="tensorflow-datasets is not installed")
    if not REAL.is_dir():
        pytest.skip(f"no real data in {REAL}")
    monkeypatch.setenv("NEUROGRAPH_CACHE", str(session_cache))
    monkeypatch.setenv("TFDS_DATA_DIR", str(REAL))


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUROGRAPH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_resize_equals_pillow_and_jax():
    from PIL import Image

    images = SOME.integers(0, 256, (3, 20, 24), np.uint8)
    for size in ((10, 10), (14, 9), (28, 30), (20, 24)):
        ours = resize(images, size).astype(int)
        pillow = np.stack([np.asarray(Image.fromarray(i).resize(size[::-1], Image.Resampling.BILINEAR)) for i in images]).astype(
            int
        )
        exact = np.asarray(jax.image.resize(images.astype(np.float32), (3, *size), "linear", antialias=True))
        assert np.abs(ours - np.stack(pillow)).max() <= 1
        assert np.abs(ours - exact).max() <= 0.51
        plain = resize(images, size, antialias=False)
        exact = np.asarray(jax.image.resize(images.astype(np.float32), (3, *size), "linear", antialias=False))
        assert np.abs(plain - exact).max() <= 0.51
    color = SOME.integers(0, 256, (2, 12, 12, 3), np.uint8)
    assert np.array_equal(resize(color, (6, 5))[..., 1], resize(color[..., 1], (6, 5)))
    assert np.array_equal(crop_center(images, (4, 6)), images[:, 8:12, 9:15])


def test_carve_is_stratified_and_never_changes():
    labels = np.repeat([0, 1, 2], [10, 20, 1])
    keep, cut = carve(labels, 0.2, 0, "validation")
    assert sorted([*keep, *cut]) == list(range(31))
    assert np.bincount(labels[cut], minlength=3).tolist() == [2, 4, 0]
    assert sorted(cut.tolist()) == [3, 5, 10, 18, 20, 21]
    assert sorted(carve(labels, 0.2, 1, "validation")[1].tolist()) != sorted(cut.tolist())


def test_class_options():
    names = list("abcdefghij")
    assert select_classes("1-3,7", names) == [1, 2, 3, 7]
    assert select_classes(["b", 0], names) == [1, 0]
    with pytest.raises(TaskError, match="no class 12; allowed: 0-9"):
        select_classes("0-12", names)


def test_cache_makes_once_and_repairs(own_cache):
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(6).reshape(2, 3), "b": np.zeros(0, np.uint8)}

    first, second = cached("set/x", {"v": 1}, make), cached("set/x", {"v": 1}, make)
    assert len(made) == 1
    assert np.array_equal(first["a"], second["a"])
    assert isinstance(second["a"], np.memmap)
    assert not second["a"].flags.writeable
    cached("set/x", {"v": 2}, make)
    assert len(made) == 2
    file = next(own_cache.glob("set-x-*/a.npy"))
    facts = json.loads((file.parent / "index.json").read_text())["facts"]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.warns(RuntimeWarning, match="is damaged; it is made again"):
        assert cached("set/x", facts, make)["a"][1, 2] == 5
    (file.parent / "index.json").unlink()
    with pytest.warns(RuntimeWarning, match="is damaged"):
        cached("set/x", facts, make)
    assert not list(own_cache.glob(".partial-*"))


def test_cache_leaves_nothing_half_written(own_cache, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cached("x", {}, lambda: {"a": np.zeros(3)})
    assert list(own_cache.iterdir()) == []


def test_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("NEUROGRAPH_CACHE", str(tmp_path / "file"))
    with pytest.warns(RuntimeWarning, match="the next start decodes it again"):
        assert cached("x", {}, lambda: {"a": np.ones(2)})["a"].sum() == 2


X, Y = SOME.normal(size=(60, 4)), np.arange(60) % 3


def test_arrays_of_your_own():
    task = from_arrays(X, np.array(["n", "m", "o"])[Y])
    assert task.class_names == ("m", "n", "o")
    assert [count for _, count in task.extents] == [39, 9, 12]
    x, labels = task.arrays("train")
    assert np.allclose(np.asarray(x).mean(0), 0, atol=1e-5)
    stored = {row.tobytes(): label for row, label in zip(X.astype(np.float32), np.array([1, 0, 2])[Y])}
    assert all(stored[row.tobytes()] == label for row, label in zip(np.asarray(task.data), np.asarray(task.labels)))
    images = SOME.integers(0, 256, (20, 5, 6), np.uint8)
    task = from_arrays(images, np.arange(20) % 2, x_test=images[:4], labels_test=[0, 1, 0, 1])
    assert task.image_shape == (5, 6)
    assert task.data.dtype == np.uint8
    assert task.extents[2][1] == 4
    assert len(labels) == 39


def _with(change):
    x = X.copy()
    change(x)
    return x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_arrays(_with(lambda x: x.__setitem__((3, 2), np.nan)), Y), r"x\[3, 2\]: got nan; expected finite numbers"),
        (lambda: from_arrays(_with(lambda x: x.__setitem__((0, 0), np.inf)), Y), r"x\[0, 0\]: got inf"),
        (lambda: from_arrays(X, Y[:5]), "x has 60 rows and labels has 5"),
        (lambda: from_arrays(X, Y * 0), "all rows are of one class, 0"),
        (lambda: from_arrays(X[:, 0], Y), r"x: got shape \(60,\)"),
        (lambda: from_arrays([], []), r"x: got shape \(0,\)"),
        (lambda: from_arrays([[1.0], [1.0, 2.0]], [0, 1]), "rows differ in length"),
        (lambda: from_arrays(X.astype(str), Y), "expected numbers"),
        (lambda: from_arrays(X, np.eye(3)[Y]), "expected one label per row"),
        (lambda: from_arrays(X, [None, *Y[1:]]), r"labels\[0\]: the label is missing \(1 are\)"),
        (lambda: from_arrays(X, Y + 0.5), r"labels\[0\]: got 0.5; expected class numbers"),
        (lambda: from_arrays(X, Y, names=["a", "b"]), "integers from 0 to 1"),
        (lambda: from_arrays(X, Y, x_test=X), "without labels_test"),
        (lambda: from_arrays(X, Y, x_test=X[:, :2], labels_test=Y), "expected rows of"),
        (lambda: from_arrays(X, Y, x_test=X, labels_test=Y + 1), r"labels_test: \[3\] do not occur"),
        (lambda: from_arrays(X, Y, ways=9), "ways: got 9"),
        (lambda: from_frame(3), "expected a data frame"),
    ],
)
def test_own_data_that_is_wrong(make, message):
    with pytest.raises(TaskError, match=message):
        make()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b,label\n1,2,x\n3,four,y\n", r"t.csv:3: column 'b': got 'four'; expected a finite number"),
        ("a,b,label\n1,2,x\n3,,y\n", r"1 value is missing: 'b' \(1, the first at .*t.csv:3\)"),
        ("a,b,label\n1,2,x\n3,nan,y\n", r"1 value is missing: 'b' \(1, the first at .*t.csv:3\)"),
        ("a,b,label\n1,2,x\n3,y\n", "t.csv:3: 2 cells; the header has 3"),
        ("a,b,label\n1,2,\n", "t.csv:2: column 'label': the label is missing"),
        ("a,b,kind\n1,2,x\n", r"no column 'label' \(option label\); columns: a, b, kind"),
        ("label\nx\n", "no column besides the label"),
        ("a,label\n", "a header and no rows"),
        ("", "it is empty"),
        ("a,label\n1,x\n2,x\n", "all rows are of one class, 'x'"),
    ],
)
def test_csv_that_is_wrong(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TaskError, match=message):
        get_task(f"csv:{tmp_path / 't.csv'}")


def test_tables_agree(tmp_path):
    """One table as CSV, Parquet, frame and .npz makes one task."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    values = np.round(X, 3).astype(np.float32)
    frame = pandas.DataFrame(values, columns=list("abcd")).assign(kind=np.array(["u", "v", "w"])[Y])
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    np.savez(tmp_path / "t.npz", x=values, labels=np.array(["u", "v", "w"])[Y])
    tasks = [
        from_frame(frame, "kind"),
        from_csv(tmp_path / "t.csv", "kind"),
        from_parquet(tmp_path / "t.parquet", "kind"),
        get_task(f"npz:{tmp_path / 't.npz'}"),
        get_task({"name": f"csv:{tmp_path / 't.csv'}", "label": "kind"}),
    ]
    for task in tasks[1:]:
        assert np.array_equal(task.data, tasks[0].data)
        assert np.array_equal(task.labels, tasks[0].labels)
        assert task.class_names == ("u", "v", "w")
    frame.loc[4, "c"] = np.nan
    with pytest.raises(TaskError, match=r"1 value is missing: 'c' \(1, the first at row 4\)"):
        from_frame(frame, "kind")
    with pytest.raises(TaskError, match=r"column 'name' \('z'\) holds text; expected numbers"):
        from_frame(frame.assign(c=1.0, name="z"), "kind")
    with pytest.raises(TaskError, match=r"t.npz: it has no array 'y' \(option y\); allowed: x, labels"):
        get_task(f"npz:{tmp_path / 't.npz'}", label="y")


def test_folder_of_images(tmp_path):
    from PIL import Image

    for name, level in (("dark", 20), ("light", 220)):
        for split in ("train", "test"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for number in range(6):
                Image.new("RGB", (9, 7), (level + number,) * 3).save(tmp_path / "set" / split / name / f"{number}.png")
    task = from_image_folder(tmp_path / "set", size=[3, 4])
    assert task.class_names == ("dark", "light")
    assert task.image_shape == (3, 4)
    x, labels = task.arrays("test")
    assert x.shape == (12, 12)
    assert np.array_equal(np.asarray(x).mean(1) > 0, np.asarray(labels) == 1)
    assert get_task(f"folder:{tmp_path / 'set'}", gray=False, size=2).num_inputs == 12
    (tmp_path / "set" / "train" / "dark" / "bad.png").write_bytes(b"no image")
    with pytest.raises(TaskError, match=r"bad\.png: no readable image"):
        from_image_folder(tmp_path / "set")
    with pytest.raises(TaskError, match="one subfolder per class"):
        from_image_folder(tmp_path / "set" / "train" / "light")


def test_missing_set_is_one_quick_message(tmp_path, own_cache):
    start = time.perf_counter()
    with pytest.raises(TaskError) as caught:
        get_task("mnist", data_dir=tmp_path)
    assert time.perf_counter() - start < 1
    assert str(caught.value) == (
        "data set 'mnist' is not on this machine.\n"
        f"  looked for: {tmp_path}/mnist/<version>/dataset_info.json\n"
        "  elsewhere? option data_dir (--data-dir) or TFDS_DATA_DIR says where tensorflow-datasets keeps its data\n"
        "  to get it:  neurograph task prepare mnist   (online, once; needs pip install 'neurograph[prepare]')\n"
        "  without it: task 'digits' is embedded and needs no data (8x8 handwritten digits, 10 classes)"
    )
    assert list(tmp_path.iterdir()) == []


def _write_set(folder, form="array_record", shards=True, label="classLabel"):
    folder.mkdir(parents=True)
    keys = {"items": [{"featureKey": "image"}, {"featureKey": "label"}]}
    splits = [{"name": "train", "shardLengths": ["3"]}]
    info = {"fileFormat": form, "splits": splits, "supervisedKeys": {"tuple": keys}}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    features = {"image": {"image": {"shape": {"dimensions": ["4", "4", "1"]}}}, "label": {label: {"numClasses": "2"}}}
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    if shards:
        (folder / "toy-train.array_record-00000-of-00001").write_bytes(b"broken")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "tfrecord"}, "stored as tfrecord, which only TensorFlow reads"),
        ({"shards": False}, "0 of the 1 record files of split 'train' are there"),
        ({"label": "text"}, "is no image classification"),
        ({}, "cannot be"),
    ],
)
def test_stored_sets_that_are_damaged(tmp_path, own_cache, change, message):
    pytest.importorskip("tensorflow_datasets")
    _write_set(tmp_path / "toy" / "1.0.0", **change)
    with pytest.raises(TaskError, match=message):
        get_task("tfds:toy", data_dir=tmp_path)
    assert not own_cache.exists() or list(own_cache.iterdir()) == []


def test_newest_version_and_default_configuration(tmp_path):
    for version in ("1.0.0", "1.10.0", "1.9.0"):
        _write_set(tmp_path / "toy" / "small" / version)
    (tmp_path / "toy" / ".config").mkdir()
    (tmp_path / "toy" / ".config" / "metadata.json").write_text('{"default_config_name": "small"}')
    assert find("toy", tmp_path).folder.name == "1.10.0"
    assert find("toy/small", tmp_path).splits == {"train": 3}
    (tmp_path / "toy" / ".config" / "metadata.json").unlink()
    with pytest.raises(TaskError, match=r"\(there are: toy/small\)"):
        find("toy", tmp_path)


def test_prepare_offline_and_without_packages(tmp_path, monkeypatch):
    import importlib.util as util

    requests = pytest.importorskip("requests")
    from neurograph.tasks.tfds import prepare as module

    present = util.find_spec

    def without(*missing):
        monkeypatch.setattr(util, "find_spec", lambda name: None if name in missing else (present(name) or object()))

    without("tensorflow")
    with pytest.raises(MissingExtraError, match=r"first preparation of data set 'mnist' needs tensorflow.*neurograph\[prepare\]"):
        module.prepare("mnist", tmp_path / "new")
    without()

    def refuse(*_, **__):
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests, "head", refuse)
    with pytest.raises(TaskError, match=r"no answer from https://storage\.googleapis\.com"):
        module.prepare("mnist", tmp_path / "new")
    monkeypatch.setattr(module, "_ask", lambda *_: None)

    def half(name, root, downloads):
        (root / "mnist" / "3.0.1.incompleteX").mkdir(parents=True)
        (root / "mnist" / "3.0.1.incompleteX" / "part").write_bytes(b"1")
        raise RuntimeError("disk\nfull")

    monkeypatch.setattr(module, "_download", half)
    with pytest.raises(TaskError, match=r"failed \(RuntimeError: disk full\); nothing was kept"):
        module.prepare("mnist", tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.thorough
def test_real_mnist(real):
    task = get_task("mnist/10x10")
    assert [count for _, count in task.extents] == [48000, 12000, 10000]
    assert task.num_inputs == 100
    full = get_task("mnist")
    assert full.data.dtype == np.uint8
    assert np.bincount(full.arrays("test")[1]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    pixels = np.asarray(full.data[-1000:]).reshape(-1, 28, 28)
    assert np.array_equal(resize(crop_center(pixels, (20, 20)), (10, 10)).reshape(1000, -1), task.data[-1000:])
    # The published mean and deviation of MNIST are 0.1307 and 0.3081.
    assert 1 / (255 * float(full.scale)) == pytest.approx(0.3081, abs=1e-3)
    assert -float(full.shift) / float(full.scale) / 255 == pytest.approx(0.1307, abs=1e-3)
    assert "tensorflow" not in sys.modules
    start = time.perf_counter()
    get_task("mnist")
    assert time.perf_counter() - start < 5  # well under 1 s on an idle machine; decoding takes longer than this
    halves = [get_task("mnist/0-4"), get_task("mnist/5-9")]
    assert [half.class_names for half in halves] == [tuple("01234"), tuple("56789")]
    assert sum(half.extents[2][1] for half in halves) == 10000


@pytest.mark.thorough
def test_real_images_can_be_told_apart(real):
    """The mean images of training classes classify test rows: labels, orientation and normalisation of splits agree."""
    for name, options, least in (("mnist", {"size": 14}, 0.75), ("fashion_mnist", {"size": 14}, 0.6), ("emnist/a-j", {}, 0.6)):
        task = get_task(name, **options)
        x, labels = (np.asarray(a) for a in task.arrays("train"))
        means = np.stack([x[labels == label].mean(0) for label in range(10)])
        x, labels = (np.asarray(a) for a in task.arrays("test"))
        nearest = np.argmin((means**2).sum(1) - 2 * x @ means.T, axis=1)
        assert (nearest == labels).mean() > least, name
    assert task.class_names == tuple("ABCDEFGHIJ")


@pytest.mark.thorough
def test_real_emnist_is_upright(real):
    """The bar of the letter T is above, and its sides weigh about the same."""
    task = get_task("emnist/byclass", classes=["T", "L"])
    x, labels = task.arrays("train")
    mean = np.asarray(x)[np.asarray(labels) == 0].mean(0).reshape(28, 28)
    assert mean[4:10].mean() > 1.3 * mean[18:24].mean() + 0.1
    top, left = mean[:14].mean() - mean[14:].mean(), mean[:, :14].mean() - mean[:, 14:].mean()
    assert top > 2 * abs(left)


@pytest.mark.thorough
def test_real_omniglot_holds_alphabets_back(real):
    task = get_task("omniglot/small", size=14)
    assert task.num_classes == 10
    groups = [set(np.asarray(task.arrays(split)[1]).tolist()) for split in ("train", "validation", "test")]
    assert not groups[0] & groups[1]
    assert not groups[2] & (groups[0] | groups[1])
    # small1 and small2 share two alphabets of 24 and 26 characters; 156 - 50 remain.
    assert len(groups[2]) == 106
    assert [len(group) for group in groups[:2]] == [number for _, number in task.pools[:2]]
    episode = jax.jit(lambda task, key: task.episode(key, 3, 20, 50, "test"))(task, KEY)
    assert episode.support.x.shape == (3, 20, 196)
    assert np.array_equal((np.asarray(episode.query.y) > 0).sum(0), np.full(10, 5))
    with pytest.raises(TaskError, match=r"has no split 'train'; it has small1 \(2,720\), small2 \(3,120\)"):
        get_task("omniglot")
    with pytest.raises(TaskError, match="support and query must come from one split"):
        task.episode(KEY, 1, 2, 2, "train", "test")


@pytest.mark.thorough
def test_real_omniglot_holds_characters_back(real):
    task = get_task("omniglot/small", size=14, characters=180)
    groups = [set(np.asarray(task.arrays(split)[1]).tolist()) for split in ("train", "validation", "test")]
    assert [len(group) for group in groups] == [180, 12, 50]  # 136 and 156 characters, 50 of them in both sets; a fifth of 62
    assert len(set.union(*groups)) == 242
    assert len(task.arrays("train")[1]) + len(task.arrays("test")[1]) + len(task.arrays("validation")[1]) == 2720 + 3120


def test_characters_held_back():
    parts = {"train": (np.arange(12), np.repeat([3, 5, 8], 4)), "test": (np.arange(12, 24), np.repeat([9, 8, 11], 4))}
    found = _by_characters(parts, 2, 0.4, 0)
    groups = {split: set(labels.tolist()) for split, (_, labels) in found.items()}
    assert {split: len(group) for split, group in groups.items()} == {"train": 2, "validation": 1, "test": 2}
    assert set.union(*groups.values()) == {3, 5, 8, 9, 11}
    assert sorted(np.concatenate([rows for rows, _ in found.values()]).tolist()) == list(range(24))
    both = np.concatenate([[3, 5, 8], [9, 8, 11]]).repeat(4)
    assert all(both[row] == label for rows, labels in found.values() for row, label in zip(rows, labels, strict=True))
    for wrong in (0, 4, True, 2.0):
        with pytest.raises(TaskError, match=r"characters: got .*expected an integer of 1 to 3 \(the splits in use have 5\)"):
            _by_characters(parts, wrong, 0.2, 0)
    with pytest.raises(TaskError, match="validation: got 0; with characters, expected a share above 0"):
        _by_characters(parts, 2, 0, 0)


def test_command_line(tmp_path, monkeypatch):
    run = CliRunner().invoke(command, ["list"])
    assert run.exit_code == 0
    assert "fashion_mnist" in run.output
    assert "csv:..." in run.output
    run = CliRunner().invoke(command, ["show", "digits", "--set", "classes=0-4"])
    assert run.exit_code == 0
    assert "64 inputs, 5 outputs" in run.output
    assert "@" in run.output
    for name in ("blobs3", "digits"):
        file = tmp_path / f"{name}.png"
        run = CliRunner().invoke(command, ["show", name, "--out", str(file)])
        assert run.exit_code == 0, run.exception
        assert file.read_bytes()[:4] == b"\x89PNG"
    run = CliRunner().invoke(command, ["show", "xor", "--set", "size"])
    assert isinstance(run.exception, TaskError)
    assert "expected KEY=VALUE" in str(run.exception)
    run = CliRunner().invoke(command, ["prepare", "digits"])
    assert "needs no preparation" in str(run.exception)
