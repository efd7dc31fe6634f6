"""Data sets: readers on files that the tests write, stratified draws, custom data and downloads."""

from __future__ import annotations

import dataclasses
import gc
import gzip
import hashlib
import io
import re
import struct
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridsearch.config import DataConfig
from hybridsearch.errors import UserError
from hybridsearch.evaluate.data import fetch, load_search_data, load_test_data
from hybridsearch.evaluate.data.cifar import CIFAR10
from hybridsearch.evaluate.data.fetch import FILE_SETS, REMOTES, Remote
from hybridsearch.evaluate.data.splits import (
    Split,
    allocate,
    channel_statistics,
    digest,
    draw,
)

IDX_NAMES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty data home, and no data set of this machine's."""
    monkeypatch.setenv("HYBRIDSEARCH_DATA", str(tmp_path / "home"))
    bare = dataclasses.replace(FILE_SETS["fashion_mnist"], elsewhere=())
    monkeypatch.setitem(FILE_SETS, "fashion_mnist", bare)
    return tmp_path / "home"


def refused(function, *args, **kwargs):
    """The text of the UserError that a call raises; it is one line."""
    with pytest.raises(UserError) as info:
        function(*args, **kwargs)
    text = str(info.value)
    assert "\n" not in text
    return text


def config(name, train=20, validation=10, **kwargs):
    return DataConfig(name=str(name), train=train, validation=validation, **kwargs)


def pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_fashion(folder, zipped):
    """40 training and 20 test images, the same number of every class."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for seed, (part, names) in enumerate(IDX_NAMES.items()):
        n = 40 if part == "train" else 20
        made[part] = pixels(seed, n, 28, 28), (np.arange(n) % 10).astype(np.uint8)
        for name, array in zip(names, made[part], strict=True):
            if zipped:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array), mtime=0))
            else:
                (folder / name).write_bytes(idx(array))
    return made


def write_cifar(folder, classes):
    """Training images [5 * 2 * classes] over all files, and [classes] test images."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [f"data_batch_{k}.bin" for k in range(1, 6)] if classes == 10 else ["train.bin"]
    test = "test_batch.bin" if classes == 10 else "test.bin"
    made = {"train": [], "test": []}
    for seed, name in enumerate([*train, test]):
        fine = np.arange(classes * (2 if name != test else 1)) % classes
        images = pixels(seed, len(fine), 3, 32, 32)
        labels = fine[:, None] if classes == 10 else np.stack([fine // 5, fine], axis=1)
        records = np.hstack([labels.astype(np.uint8), images.reshape(len(fine), -1)])
        (folder / name).write_bytes(records.tobytes())
        made["test" if name == test else "train"].append((images, fine))
    return {
        part: tuple(np.concatenate(arrays) for arrays in zip(*files, strict=True))
        for part, files in made.items()
    }


def rows(images):
    return [image.tobytes() for image in images]


def assert_drawn_from(data, images, labels):
    """Train and validation are disjoint, and every image is an official one with its label."""
    official = dict(zip(rows(images), labels.tolist(), strict=True))
    used = rows(data.train.images) + rows(data.validation.images)
    assert len(set(used)) == len(used)
    found = [official[row] for row in used]
    assert found == data.train.labels.tolist() + data.validation.labels.tolist()


# Draws, statistics, digest


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(lambda c: sum(c) > 0),
    st.floats(0, 1),
)
def test_allocation_is_proportional_and_exact(counts, share):
    counts = np.array(counts)
    size = round(share * counts.sum())
    got = allocate(counts, size)
    assert got.sum() == size
    assert (got <= counts).all()
    assert (np.abs(got - size * counts / counts.sum()) < 1).all()


@given(
    st.lists(st.integers(0, 5), min_size=2, max_size=60),
    st.integers(0, 10**6),
    st.data(),
)
def test_draws_are_exact_and_disjoint(labels, seed, data):
    labels = np.array(labels)
    first = data.draw(st.integers(1, len(labels) - 1))
    second = data.draw(st.integers(1, len(labels) - first))
    parts = draw(labels, (first, second), (seed,))
    assert [len(p) for p in parts] == [first, second]
    assert len(set(np.concatenate(parts).tolist())) == first + second
    np.testing.assert_array_equal(
        np.bincount(labels[parts[0]], minlength=6),
        allocate(np.bincount(labels, minlength=6), first),
    )
    for again, part in zip(draw(labels, (first, second), (seed,)), parts, strict=True):
        np.testing.assert_array_equal(again, part)


def test_draws_come_shuffled():
    (index,) = draw(np.arange(100) // 10, (50,), (0,))
    labels = index // 10
    assert (np.diff(labels) < 0).sum() > 10  # not class by class
    assert not np.array_equal(index, draw(np.arange(100) // 10, (50,), (1,))[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_statistics_equal_numpys(dtype):
    images = pixels(0, 2500, 3, 4, 4).astype(dtype)  # more than two blocks
    mean, std = channel_statistics(images)
    scale = 255 if dtype == np.uint8 else 1
    np.testing.assert_allclose(mean, images.mean(axis=(0, 2, 3), dtype=float) / scale, rtol=1e-6)
    np.testing.assert_allclose(std, images.std(axis=(0, 2, 3), dtype=float) / scale, rtol=1e-6)
    assert mean.dtype == std.dtype == np.float32


@pytest.mark.parametrize("value", [0, 0.1, 1e30])
def test_a_constant_channel_has_std_1(value):
    _, std = channel_statistics(np.full((3000, 1, 1, 1), value, np.float32))
    assert std.tolist() == [1]


def test_digest_sees_every_pixel_label_shape_and_dtype():
    split = Split(pixels(0, 6, 1, 2, 2), np.arange(6))
    images, labels = split.images.copy(), split.labels.copy()
    images[3, 0, 1, 1] ^= 1
    labels[5] = 0
    variants = [
        split,
        Split(images, split.labels),
        Split(split.images, labels),
        Split(split.images.reshape(6, 1, 4, 1), split.labels),
        Split(split.images.view(np.int8), split.labels),
    ]
    digests = [digest(v, split) for v in variants] + [digest(split, v) for v in variants[1:]]
    assert len(set(digests)) == len(digests)
    assert digest(Split(split.images.copy(), split.labels.copy()), split) == digests[0]
    assert re.fullmatch("[0-9a-f]{64}", digests[0])


# Digits


def test_default_digits():
    data = load_search_data(DataConfig())
    assert (data.name, data.classes, data.in_shape) == ("digits", 10, (1, 8, 8))
    assert len(data.train) == 384
    assert len(data.validation) == 700
    assert data.train.images.dtype == np.uint8
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    assert data.train.labels.dtype == np.int64
    assert np.ptp(np.bincount(data.train.labels)) <= 4  # 174 to 183 images per class in all
    assert data.mean.shape == data.std.shape == (1,)


def test_the_three_parts_of_digits_are_the_whole_set():
    from sklearn.datasets import load_digits

    data, test = load_search_data(DataConfig()), load_test_data(DataConfig())
    assert len(test) == 713
    parts = (data.train, data.validation, test)
    got = np.concatenate([p.images for p in parts]).reshape(-1, 64)
    labels = np.concatenate([p.labels for p in parts])
    ink, official = load_digits(return_X_y=True)

    def ordered(images, labels):
        return sorted(zip(map(tuple, images.tolist()), labels.tolist(), strict=True))

    assert ordered(np.rint(got / 255 * 16).astype(int), labels) == ordered(
        ink.astype(int), official
    )


def test_the_test_part_depends_on_no_setting():
    digests = {
        digest(load_test_data(config("digits", train, validation, split_seed=seed)))
        for train, validation, seed in [(384, 700, 0), (10, 20, 1), (1000, 84, 2)]
    }
    assert len(digests) == 1


def test_splits_are_deterministic_in_the_seed_and_validation_ignores_train():
    data = load_search_data(config("digits"))
    assert load_search_data(config("digits")).digest == data.digest
    assert load_search_data(config("digits", split_seed=1)).digest != data.digest
    more = load_search_data(config("digits", train=50))
    np.testing.assert_array_equal(more.validation.images, data.validation.images)


def test_too_many_digits_are_refused_with_the_numbers():
    text = refused(load_search_data, config("digits", 385, 700))
    for number in ("385", "700", "1,085", "1,084"):
        assert number in text


def test_an_unknown_name_is_answered_with_the_nearest():
    for load in (load_search_data, load_test_data):
        assert "did you mean 'cifar10'" in refused(load, config("cifra10"))


# Fashion-MNIST


@pytest.mark.parametrize("zipped", [False, True])
def test_fashion_mnist_from_idx_files(tmp_path, zipped):
    made = write_fashion(tmp_path / "data", zipped)
    where = config("fashion_mnist", folder=str(tmp_path / "data"))
    data, test = load_search_data(where), load_test_data(where)
    assert data.in_shape == (1, 28, 28)
    assert data.classes == 10
    assert np.bincount(data.train.labels).tolist() == [2] * 10
    assert np.bincount(data.validation.labels).tolist() == [1] * 10
    assert_drawn_from(data, *made["train"])
    np.testing.assert_array_equal(test.images[:, 0], made["test"][0])
    np.testing.assert_array_equal(test.labels, made["test"][1])
    assert test.images.flags.writeable  # torch.from_numpy warns otherwise


def test_files_are_found_in_the_data_home_and_elsewhere(home, tmp_path, monkeypatch):
    write_fashion(tmp_path / "debian", zipped=True)
    elsewhere = dataclasses.replace(FILE_SETS["fashion_mnist"], elsewhere=(tmp_path / "debian",))
    monkeypatch.setitem(FILE_SETS, "fashion_mnist", elsewhere)
    found = load_search_data(config("fashion_mnist")).digest
    write_fashion(home / "fashion_mnist", zipped=False)
    assert load_search_data(config("fashion_mnist")).digest == found
    assert "/nowhere" in refused(
        load_search_data, config("fashion_mnist", folder=str(tmp_path / "nowhere"))
    )


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_missing_files_name_the_command(name):
    text = refused(load_search_data, config(name))
    assert f"python -m hybridsearch data {name}`" in text
    assert "--folder PATH" in text
    assert ("apt-get install dataset-fashion-mnist" in text) == (name == "fashion_mnist")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (IDX_NAMES["train"][0], b"", "empty file"),
        (IDX_NAMES["train"][0], b"PK\3\4" + bytes(50), "504b0304"),
        (IDX_NAMES["train"][0], idx(np.zeros(40, np.uint8)), "3 axes"),
        (IDX_NAMES["train"][0], idx(np.zeros((40, 28, 28), np.uint8))[:-1], "31,359"),
        (IDX_NAMES["train"][0], idx(np.zeros((40, 8, 8), np.uint8)), "28x28"),
        (
            IDX_NAMES["train"][0],
            bytes((0, 0, 8, 3)) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1),
            "holds nothing",
        ),
        (IDX_NAMES["train"][1], idx(np.zeros(39, np.uint8)), "(39,)"),
        (IDX_NAMES["train"][1], idx(np.full(40, 10, np.uint8)), "0..9, got 10"),
        (
            IDX_NAMES["train"][1] + ".gz",
            gzip.compress(idx(np.zeros(40, np.uint8)), mtime=0)[:-9],
            "again",
        ),
        (IDX_NAMES["train"][1] + ".gz", b"no gzip", "again"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path, name, content, expected):
    write_fashion(tmp_path, zipped=False)
    (tmp_path / name.removesuffix(".gz")).unlink()
    (tmp_path / name).write_bytes(content)
    text = refused(load_search_data, config("fashion_mnist", folder=str(tmp_path)))
    assert expected in text
    assert str(tmp_path) in text


# CIFAR


@pytest.mark.parametrize("classes", [10, 100])
@pytest.mark.parametrize("nested", [False, True])
def test_cifar_from_binary_files(tmp_path, classes, nested):
    inside = "cifar-10-batches-bin" if classes == 10 else "cifar-100-binary"
    made = write_cifar(tmp_path / inside if nested else tmp_path, classes)
    where = config(f"cifar{classes}", classes // 2, classes, folder=str(tmp_path))
    data, test = load_search_data(where), load_test_data(where)
    assert data.in_shape == (3, 32, 32)
    assert data.classes == classes
    assert np.bincount(data.validation.labels).tolist() == [1] * classes
    assert_drawn_from(data, *made["train"])
    np.testing.assert_array_equal(test.images, made["test"][0])
    np.testing.assert_array_equal(test.labels, made["test"][1])


@pytest.mark.parametrize("size", [0, 1, 3072, 3072 * 2])
def test_a_file_of_no_whole_records_is_refused(tmp_path, size):
    write_cifar(tmp_path, 10)
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(size))
    text = refused(load_search_data, config("cifar10", folder=str(tmp_path)))
    assert "data_batch_3.bin" in text
    assert "3,073" in text


def test_other_labels_and_missing_batches_are_refused(tmp_path):
    write_cifar(tmp_path, 10)
    where = config("cifar10", folder=str(tmp_path))
    (tmp_path / "data_batch_2.bin").write_bytes(bytes([10]) + bytes(3072))
    assert "0..9, got 10" in refused(load_search_data, where)
    (tmp_path / "data_batch_2.bin").unlink()
    assert "no file data_batch_2.bin" in refused(load_search_data, where)


# Custom data

MODULE = """
import numpy as np
from hybridsearch.errors import UserError

SIZES = {"train": 30, "validation": 15, "test": 9}

def make(part, shape=(2, 4, 4), dtype=np.uint8):
    rng = np.random.default_rng(len(part))
    n = SIZES[part]
    return rng.integers(0, 256, (n, *shape)).astype(dtype), np.arange(n) % 3

def no_test(part):
    if part == "test":
        raise RuntimeError("the test data were touched")
    return make(part)

def flat(part): return make(part, (5,), np.float64)
def gray(part): return make(part, (4, 4), np.int32)
def lists(part): return [[0.5, 1.0]] * 20, [0, 1] * 10
def frozen(part):
    images, labels = make(part)
    images.flags.writeable = False
    return images.transpose(0, 1, 3, 2), labels

def only_images(part): return make(part)[0]
def one_number(part): return 3.0, [1]
def ragged(part): return [[1, 2], [3]], [0, 1]
def words(part): return [["a"], ["b"]], [0, 1]
def nan(part): return [[0.0], [float("nan")]], [0, 1]
def big(part): return [[0.0], [1e300]], [0, 1]
def word_labels(part): return [[0.0], [1.0]], ["a", "b"]
def few_labels(part): return [[0.0], [1.0]], [0]
def below(part): return [[0.0], [1.0]], [-1, 0]
def from_one(part): return [[0.0], [1.0]], [1, 2]
def one_class(part): return [[0.0], [1.0]], [0, 0]
def empty(part): return np.zeros((0, 3)), np.zeros(0, int)
def fails(part): raise KeyError("first\\nsecond")
def advises(part): raise UserError("mount the disk")
def other_shape(part): return make(part, (2, 4, 4) if part == "train" else (2, 4, 5))
def other_dtype(part): return make(part, dtype=np.uint8 if part == "train" else float)
def other_labels(part):
    images, labels = make(part)
    return images, labels + (part != "train")
number = 7
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of an importable module in the current directory; nothing of it stays behind."""
    (tmp_path / "my_data.py").write_text(MODULE)
    (tmp_path / "broken_data.py").write_text("1 +\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield "my_data"
    sys.modules.pop("my_data", None)


def test_custom_search_data_never_asks_for_the_test_part(module):
    where = config(f"{module}:no_test")
    data = load_search_data(where)
    assert data.in_shape == (2, 4, 4)
    assert data.classes == 3
    assert (len(data.train), len(data.validation)) == (20, 10)
    assert data.train.images.dtype == np.uint8
    assert set(np.bincount(data.train.labels)) == {6, 7}
    text = refused(load_test_data, where)
    assert "RuntimeError: the test data were touched (my_data.py line 14)" in text


@pytest.mark.parametrize(
    ("function", "shape"), [("flat", (5,)), ("gray", (1, 4, 4)), ("lists", (2,))]
)
def test_custom_shapes_and_types(module, function, shape):
    data = load_search_data(config(f"{module}:{function}"))
    assert data.in_shape == shape
    assert data.train.images.dtype == np.float32
    assert data.mean.shape == (shape[0],)


def test_custom_test_data_are_a_writable_copy_of_everything(module):
    test = load_test_data(config(f"{module}:frozen"))
    assert len(test) == 9
    assert test.images.flags.writeable
    assert test.images.flags.c_contiguous


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("only_images", "expected (inputs, targets), got ndarray"),
        ("one_number", "[N, F], got ()"),
        ("ragged", "expected NumPy arrays"),
        ("words", "got dtype <U1"),
        ("nan", "inputs hold NaN"),
        ("big", "beyond float32"),
        ("word_labels", "2 targets, one per input"),
        ("few_labels", "2 targets, one per input"),
        ("below", "got -1"),
        ("from_one", "2 different labels from 1 to 2"),
        ("one_class", "two classes"),
        ("empty", "got (0, 3)"),
        ("fails", "failed with KeyError"),
        ("advises", "mount the disk"),
        ("other_shape", "(2, 4, 5) uint8"),
        ("other_dtype", "(2, 4, 4) float32"),
        ("other_labels", "label 3"),
        ("number", "expected a callable, got int"),
        ("absent", "no 'absent'"),
    ],
)
def test_bad_custom_data_are_refused(module, function, expected):
    spec = f"{module}:{function}"
    text = refused(load_search_data, config(spec))
    assert expected in text
    if function != "advises":
        assert text.startswith(spec)


@pytest.mark.parametrize("function", ["other_shape", "other_dtype", "other_labels"])
def test_test_data_unlike_the_training_data_are_refused(module, function):
    assert "'test'" in refused(load_test_data, config(f"{module}:{function}"))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (":f", "package.module:callable"),
        ("my_data:", "package.module:callable"),
        ("no_such_module_:f", "No module named 'no_such_module_'"),
        ("broken_data:f", "SyntaxError"),
    ],
)
def test_bad_specs_are_refused(module, spec, expected):
    assert expected in refused(load_search_data, config(spec))


def test_too_many_custom_images_are_refused_with_the_numbers(module):
    text = refused(load_search_data, config(f"{module}:make", train=31))
    assert "31" in text
    assert "30" in text
    text = refused(load_search_data, config(f"{module}:make", validation=16))
    assert "data.validation asks for 16" in text


# Fetching


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local folder that is served over HTTP, and its URL."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def publish(monkeypatch, name, folder, url):
    """Point the table of downloads at what is in `folder`."""
    md5 = {f.name: hashlib.md5(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}
    monkeypatch.setitem(REMOTES, name, Remote(url, md5))


def make_archive(path, source, inside):
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source, inside)


def test_download_of_fashion_mnist(server, home, monkeypatch, capfd):
    pytest.importorskip("pooch")
    folder, url = server
    made = write_fashion(folder, zipped=True)
    publish(monkeypatch, "fashion_mnist", folder, url)
    said = []
    assert fetch("fashion_mnist", None, said.append) == home / "fashion_mnist"
    assert sum("100% of" in text for text in said) == 4
    assert_drawn_from(load_search_data(config("fashion_mnist")), *made["train"])
    assert list(home.iterdir()) == [home / "fashion_mnist"]
    for file in folder.iterdir():
        file.unlink()
    assert fetch("fashion_mnist") == home / "fashion_mnist"  # found, so nothing is downloaded
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("classes", [10, 100])
def test_download_of_cifar(server, home, tmp_path, monkeypatch, classes):
    pytest.importorskip("pooch")
    folder, url = server
    made = write_cifar(tmp_path / "made", classes)
    data = FILE_SETS[f"cifar{classes}"]
    make_archive(folder / "cifar.tar.gz", tmp_path / "made", data.subfolder)
    publish(monkeypatch, data.name, folder, url)
    assert fetch(data.name) == home / data.name
    assert_drawn_from(load_search_data(config(data.name)), *made["train"])
    assert not list(home.rglob("*.tar.gz"))


def test_failed_downloads_leave_nothing_behind(server, home, tmp_path, monkeypatch):
    pytest.importorskip("pooch")
    folder, url = server
    path = folder / "cifar.tar.gz"
    path.write_bytes(b"something else")
    monkeypatch.setitem(REMOTES, "cifar10", Remote(url, {path.name: "0" * 32}))
    text = refused(fetch, "cifar10")
    assert f"{url}cifar.tar.gz" in text
    assert "checksum" in text
    publish(monkeypatch, "cifar10", folder, url)
    assert "cannot be unpacked" in refused(fetch, "cifar10")
    path.unlink()
    assert "download failed (HTTPError)" in refused(fetch, "cifar10")
    gc.collect()  # an open connection would show as a ResourceWarning
    assert list(home.iterdir()) == []


def test_an_archive_cannot_write_outside(server, home, monkeypatch):
    pytest.importorskip("pooch")
    folder, url = server
    with tarfile.open(folder / "cifar.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../../escaped")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"x"))
    publish(monkeypatch, "cifar10", folder, url)
    assert "cannot be unpacked" in refused(fetch, "cifar10")
    assert not list(home.parent.rglob("escaped"))


def test_without_pooch_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    assert "pip install hybridsearch[data]" in refused(fetch, "cifar10")


def test_a_folder_is_checked_and_linked(home, tmp_path):
    made = write_cifar(tmp_path / "mine" / CIFAR10.subfolder, 10)
    assert fetch("cifar10", str(tmp_path / "mine")) == home / "cifar10"
    assert (home / "cifar10").is_symlink()
    assert_drawn_from(load_search_data(config("cifar10")), *made["train"])
    write_cifar(tmp_path / "other", 10)
    fetch("cifar10", str(tmp_path / "other"))  # a link is replaced
    assert (home / "cifar10").resolve() == (tmp_path / "other").resolve()
    fetch("cifar10", str(home / "cifar10"))
    assert (home / "cifar10").resolve() == (tmp_path / "other").resolve()


def test_a_folder_is_copied_where_links_are_not_possible(home, tmp_path, monkeypatch):
    write_cifar(tmp_path / "mine", 10)

    def no_links(*args, **kwargs):
        raise OSError("not here")

    monkeypatch.setattr("pathlib.Path.symlink_to", no_links)
    assert not fetch("cifar10", str(tmp_path / "mine")).is_symlink()
    assert len(load_search_data(config("cifar10")).train) == 20
    assert fetch("cifar10", str(home / "cifar10")) == home / "cifar10"  # in its place already
    assert "remove it first" in refused(fetch, "cifar10", str(tmp_path / "mine"))


def test_bad_folders_are_not_linked(home, tmp_path):
    write_cifar(tmp_path / "mine", 10)
    (tmp_path / "mine" / "test_batch.bin").write_bytes(bytes(3072))
    assert "test_batch.bin" in refused(fetch, "cifar10", str(tmp_path / "mine"))
    assert "no file data_batch_1.bin" in refused(fetch, "cifar10", str(tmp_path / "nowhere"))
    assert not home.exists()


def test_damaged_files_in_the_data_home_are_named(home):
    write_cifar(home / "cifar10", 10)
    (home / "cifar10" / "test_batch.bin").write_bytes(b"")
    assert f"remove {home / 'cifar10'} first" in refused(fetch, "cifar10")


def test_a_data_home_that_cannot_be_made_is_named(home, tmp_path):
    home.write_text("a file")
    write_cifar(tmp_path / "mine", 10)
    text = refused(fetch, "cifar10", str(tmp_path / "mine"))
    assert str(home) in text
    assert "HYBRIDSEARCH_DATA" in text


@pytest.mark.parametrize(
    ("name", "expected"), [("digits", "scikit-learn"), ("cifar1000", "did you mean 'cifar100'")]
)
def test_names_that_cannot_be_fetched(name, expected):
    assert expected in refused(fetch, name)


def test_sizes_that_are_not_named(tmp_path, monkeypatch):
    """digits: 384 and 700; custom data: everything that the callable gives."""
    digits = load_search_data(DataConfig())
    assert (len(digits.train), len(digits.validation)) == (384, 700)
    assert len(load_search_data(DataConfig(validation=100)).train) == 1084 - 100
    (tmp_path / "sized.py").write_text(
        "import numpy as np\n"
        "def load(part):\n"
        "    n = {'train': 40, 'validation': 24}[part]\n"
        "    return np.zeros((n, 3), np.float32) + np.arange(n)[:, None], np.arange(n) % 4\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = load_search_data(DataConfig(name="sized:load"))
    assert (len(found.train), len(found.validation)) == (40, 24)
    some = load_search_data(DataConfig(name="sized:load", train=8))
    assert (len(some.train), len(some.validation)) == (8, 24)
