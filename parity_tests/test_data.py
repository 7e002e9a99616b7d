"""data.py of a training project: the batches of tf.data, for any number of workers and processes, or a clear message."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from converters.errors import UserError
from converters.graph import Graph
from migrate.scaffold.data import data_files, data_readme, data_requirements
from migrate.scaffold.plan import Options, Plan, Port

SIZE, BATCH = (24, 20), 4  # as in reference_data.py
VECTOR = Port("x", "input", (None, 6), (None, 6), (0, 1), "float32")
PICTURE = Port("x", "image", (None, 3, *SIZE), (None, *SIZE, 3), (0, 3, 1, 2), "float32")
GREY = Port("x", "image", (None, 1, *SIZE), (None, *SIZE, 1), (0, 3, 1, 2), "float32")
LAST = Port("x", "image", (None, *SIZE, 3), (None, *SIZE, 3), (0, 1, 2, 3), "float32")
TOKENS = Port("tokens", "tokens", (None, None), (None, None), (0, 1), "int32")
SIX = Port("tokens", "tokens", (None, 6), (None, 6), (0, 1), "int32")
CLASSES = Port("label", "label", (None, 3), (None, 3), (0, 1), "float32", "classes")
VALUES = Port("label", "label", (None, 3), (None, 3), (0, 1), "float32")
JPEG_AT_MOST, JPEG_MEAN = 4.5, 1.1  # levels of 255, as measured: 4.0 and 1.02
BINARY = Port("label", "label", (None, 1), (None, 1), (0, 1), "float32")


def plan(kind: str, inputs: Any, outputs: Any = CLASSES, activation: str = "softmax") -> Plan:
    """A plan with what data.py is made of; the rest is never looked at."""
    listed = (inputs,) if isinstance(inputs, Port) else inputs
    made = (outputs,) if isinstance(outputs, Port) else outputs
    known = {
        "project": SimpleNamespace(source=Graph("model", (), ())), "options": Options(data=kind), "inputs": listed,
        "outputs": made, "activation": activation,
    }  # fmt: skip
    return Plan(**{field.name: known.get(field.name) for field in dataclasses.fields(Plan)})


def generated(folder: Path, *described: Any, **changed: Any) -> ModuleType:
    """The data.py of a plan, imported. `changed`: constants that a user would edit."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in data_files(plan(*described)).items():
        (folder / name).write_text(text)
    spec = importlib.util.spec_from_file_location(f"data_of_{abs(hash(folder))}", folder / "data.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # so that workers find its classes
    spec.loader.exec_module(module)
    vars(module).update(changed)
    return module


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of every kind, as users have it."""
    folder, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    np.savez(folder / "arrays.npz", x=random.normal(size=(10, 6)).astype(np.float32), y=random.integers(0, 3, 10))
    for kind, name in (("lossless", "ant"), ("lossless", "Bee"), ("jpeg", "ant"), ("grey", "ant"), ("grey", "bee")):
        (folder / kind / name / "more").mkdir(parents=True)
        for i, place in enumerate(("b", "a", "more/c", "10", "9")):
            smooth = random.integers(0, 256, (5, 4, 3), np.uint8)
            size = SIZE[::-1] if i == 1 else (30 + i, 41 - i)
            image = Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC)
            suffix = {"jpeg": "jpg", "grey": "png"}.get(kind, ("png", "png", "bmp", "png", "png")[i])
            image.convert("L" if kind == "grey" else "RGB").save(folder / kind / name / f"{place}.{suffix}", quality=90)
    (folder / "jpeg" / "empty").mkdir()
    rows = random.normal(size=(11, 6)) * 10.0 ** random.integers(-6, 6, (11, 6))
    lines = [",".join([*map(repr, row.tolist()), str(i % 3)]) for i, row in enumerate(rows)]
    (folder / "table.csv").write_text("\n".join(["a,b,c,d,e,f,label", *lines]) + "\n")
    words = "the The cat's dog, ran far-away! \u00c4pfel 2 3 and  and\tsat zoo".split(" ")
    for name in ("pos", "neg", "all"):
        (folder / "texts" / name).mkdir(parents=True)
        for i in range(3):
            (folder / "texts" / name / f"{i}.txt").write_text(
                " ".join(random.choice(words, 2 + 4 * i)), encoding="utf-8"
            )
    return folder


@pytest.fixture(scope="module")
def truth(files: Path) -> Mapping[str, np.ndarray[Any, Any]]:
    """The batches of tf.data."""
    script = Path(__file__).with_name("reference_data.py")
    subprocess.run([sys.executable, str(script), str(files), str(files / "truth.npz")], check=True, capture_output=True)
    return dict(np.load(files / "truth.npz", allow_pickle=False))


def batches_of(truth: Mapping[str, np.ndarray[Any, Any]], name: str) -> list[tuple[Any, Any]]:
    count = sum(
        key.startswith(f"{name}/") and key.endswith("/x") and key.count("/") == name.count("/") + 2 for key in truth
    )
    assert count
    return [(truth[f"{name}/{i}/x"], truth[f"{name}/{i}/y"]) for i in range(count)]


def same(
    loader: Any, expected: list[tuple[Any, Any]], permute: tuple[int, ...] | None = None, within: float = 0.0
) -> None:
    found = list(loader)
    assert len(found) == len(expected) == len(loader)
    for (x, y), (kx, ky) in zip(found, expected, strict=True):
        given = np.asarray(kx).transpose(permute) if permute else np.asarray(kx)
        assert tuple(x.shape) == given.shape and y.tolist() == ky.tolist()
        assert np.abs(x.numpy() - given).max(initial=0) <= within


# -- equal to tf.data --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_images(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path, workers: int) -> None:
    """The same files, classes and pixels; those that are resized to rounding. The negative control: antialiasing."""
    data = generated(tmp_path / f"images{workers}", "images", PICTURE, CLASSES, CLASSES=None)
    expected = batches_of(truth, "images/lossless")
    same(data.labelled(files / "lossless", batch_size=BATCH, workers=workers), expected, (0, 3, 1, 2), 1e-4)
    exact = next(i for i, file in enumerate(data.Samples(files / "lossless").files) if file.name == "a.png")
    found = data.Samples(files / "lossless")[exact][0].numpy()
    assert (found == expected[exact // BATCH][0][exact % BATCH].transpose(2, 0, 1)).all()
    control = Image.open(data.Samples(files / "lossless").files[0]).resize(SIZE[::-1], Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(control, np.float32) - expected[0][0][0]).max() > 1


def test_grey_images_and_axes_as_written(
    files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path
) -> None:
    grey = generated(tmp_path / "grey", "images", GREY, CLASSES, CLASSES=None)
    same(grey.labelled(files / "grey", batch_size=BATCH), batches_of(truth, "images/grey"), (0, 3, 1, 2), 1e-4)
    last = generated(tmp_path / "last", "images", LAST, CLASSES, CLASSES=None)
    same(last.labelled(files / "lossless", batch_size=BATCH), batches_of(truth, "images/lossless"), None, 1e-4)


def test_jpeg_differs_by_what_is_stated(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path) -> None:
    data = generated(tmp_path / "jpeg", "images", PICTURE, CLASSES, CLASSES=None)
    expected = batches_of(truth, "images/jpeg")
    found = torch.cat([x for x, _ in data.labelled(files / "jpeg", batch_size=BATCH)]).numpy()
    difference = np.abs(found - np.concatenate([x for x, _ in expected]).transpose(0, 3, 1, 2))
    assert difference.max() <= JPEG_AT_MOST and difference.mean() <= JPEG_MEAN


def test_the_validation_split_of_images(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path) -> None:
    """The files that image_dataset_from_directory takes with this seed; augmentation reaches the training part only."""
    data = generated(tmp_path / "split", "images", PICTURE, CLASSES, CLASSES=None, AUGMENT=lambda image: image * 0 - 1)
    train, val = data.parts(files / "lossless", 0.4, 5)
    for part, name in ((train, "training"), (val, "validation")):
        names = {str(file.relative_to(files)) for file in part.files}
        assert names == set(truth[f"split/{name}/0/x"].tolist())
    assert (train[0][0] == -1).all() and (val[0][0] >= 0).all()


def test_csv(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path) -> None:
    data = generated(tmp_path / "csv", "csv", VECTOR)
    same(data.labelled(files / "table.csv", batch_size=BATCH), batches_of(truth, "csv"))
    train, val = data.loaders(files / "table.csv", batch_size=BATCH, validation_split=0.3, shuffle=False)
    found = torch.cat([x for loader in (train, val) for x, _ in loader])
    assert (found.numpy() == np.concatenate([x for x, _ in batches_of(truth, "csv")])).all() and len(val.dataset) == 4


@pytest.mark.parametrize("feature", ["x", "raw", "image", "tokens"])
def test_tfrecord(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path, feature: str) -> None:
    port = {"image": PICTURE, "tokens": TOKENS}.get(feature, VECTOR)
    data = generated(tmp_path / feature, "tfrecord", port, CLASSES, FEATURES={port.name: feature})
    permute, within = ((0, 3, 1, 2), 1e-4) if feature == "image" else (None, 0.0)
    same(
        data.labelled(files / "records", batch_size=BATCH, workers=1),
        batches_of(truth, f"tfrecord/{feature}"),
        permute,
        within,
    )


def test_tfrecord_without_a_description(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path) -> None:
    """The first record tells which feature is which."""
    data = generated(tmp_path / "plain", "tfrecord", VECTOR)
    same(data.labelled(files / "records", batch_size=BATCH), batches_of(truth, "tfrecord/x"))
    inputs = torch.cat(list(data.unlabelled(files / "records", batch_size=3)))
    assert (inputs.numpy() == np.concatenate([x for x, _ in batches_of(truth, "tfrecord/x")])).all()


def test_webdataset(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path) -> None:
    generated(tmp_path / "web", "tfrecord", VECTOR)
    command = [sys.executable, "to_webdataset.py", str(files / "records"), "out.tar"]
    done = subprocess.run(command, cwd=tmp_path / "web", capture_output=True, text=True, check=True)
    assert "10 samples" in done.stdout
    with tarfile.open(tmp_path / "web" / "out.tar") as tar:
        names = tar.getnames()
        assert names[:2] == ["000000000.image.png", "000000000.label.cls"] and len(names) == 50
        label = tar.extractfile("000000003.label.cls")
        assert label and int(label.read()) == batches_of(truth, "tfrecord/x")[0][1][3]
        x = tar.extractfile("000000009.x.npy")
        assert x and (np.load(io.BytesIO(x.read())) == batches_of(truth, "tfrecord/x")[2][0][1]).all()


@pytest.mark.parametrize("port", [TOKENS, SIX], ids=["text", "text/6"])
def test_text(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path, port: Port) -> None:
    """Words as TextVectorization numbers them, with the vocabulary that `adapt` makes, which is kept."""
    (files / "texts" / "vocabulary.txt").unlink(missing_ok=True)
    data = generated(tmp_path / "text", "text", port, CLASSES, WORDS=12)
    with pytest.raises(SystemExit, match="expected the words of the model"):
        data.labelled(files / "texts", batch_size=BATCH)
    data.loaders(files / "texts", batch_size=BATCH)
    words = (files / "texts" / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
    assert words == truth["vocabulary/0/x"].tolist()
    expected = batches_of(truth, "text" if port is TOKENS else "text/6")
    same(data.labelled(files / "texts", batch_size=BATCH), expected)


# -- order, processes, workers -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModuleType, Path]:
    """data.py for arrays, and a folder of them."""
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "x.npy", np.arange(22 * 6, dtype=np.float32).reshape(22, 6))
    np.save(folder / "y.npy", np.arange(22).reshape(22, 1) % 3)
    return generated(folder / "project", "arrays", VECTOR), folder


def test_arrays_are_mapped_and_given_as_the_model_takes_them(tmp_path: Path) -> None:
    two = (PICTURE, dataclasses.replace(VECTOR, name="extra"))
    random = np.random.default_rng(0)
    x, extra = random.integers(0, 256, (7, *SIZE, 3)).astype(np.uint8), random.normal(size=(7, 6))
    values = {
        "x_x": x,
        "x_extra": extra,
        "y_label": np.arange(7) % 3,
        "y_score": extra[:, :1],
        "sample_weight": extra[:, 1],
    }
    for name, array in values.items():
        np.save(tmp_path / f"{name}.npy", array)
    score = dataclasses.replace(BINARY, name="score")
    data = generated(tmp_path / "project", "arrays", two, (CLASSES, score))
    samples = data.Samples(tmp_path)
    assert all(isinstance(array, np.memmap) for array in samples.inputs)
    inputs, targets, weights = next(iter(data.labelled(tmp_path, batch_size=7)))
    assert (inputs[0].numpy() == x.transpose(0, 3, 1, 2)).all() and inputs[0].dtype == torch.float32
    assert inputs[0].is_contiguous(memory_format=torch.channels_last), "as they lie: nothing is moved"
    assert (inputs[1].numpy() == extra.astype(np.float32)).all()
    assert targets[0].dtype == torch.int64 and targets[0].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert targets[1].shape == (7, 1) and weights.dtype == torch.float32
    np.savez(tmp_path / "all.npz", **values)
    again = next(iter(data.labelled(tmp_path / "all.npz", batch_size=7)))
    assert torch.equal(again[0][0], inputs[0]) and torch.equal(again[2], weights)


def test_parts_of_every_kind(tmp_path: Path) -> None:
    """Validation where the folder brings it, else everything; asked for in vain, it is refused."""
    rows = "a,b,c,d,e,f,label\n" + "1,2,3,4,5,6,0\n" * 4
    for kind, port in {"arrays": VECTOR, "csv": VECTOR, "images": PICTURE, "text": TOKENS}.items():
        data, folder = generated(tmp_path / f"{kind}_project", kind, port), tmp_path / kind
        for part, count in {"train": 4, "validation": 2}.items():
            for number in range(3):
                (folder / part / str(number)).mkdir(parents=True)
                Image.new("RGB", SIZE).save(folder / part / str(number) / "1.png")
                (folder / part / str(number) / "1.txt").write_text("a word")
            suffix = "_val" if part == "validation" else ""
            np.save(folder / f"x{suffix}.npy", np.zeros((count, 6), np.float32))
            np.save(folder / f"y{suffix}.npy", np.zeros(count, np.int64))
            (folder / f"{part}.csv").write_text(rows[: -14 * (4 - count)] if count < 4 else rows)
            (folder / "vocabulary.txt").write_text("\n[UNK]\nword\n")
        assert data.part_of(folder) == "val" and data.part_of(folder, "train") == "train"
        sizes = {part: len(data.labelled(folder, part, batch_size=2).dataset) for part in ("train", "val")}
        assert sizes == ({"train": 4, "val": 2} if port is VECTOR else {"train": 3, "val": 3}), kind
        assert "the validation part, 2" in data.described(folder, "val", range(2))
        empty = tmp_path / f"{kind}_alone"
        empty.mkdir()
        np.save(empty / "x.npy", np.zeros((4, 6), np.float32))
        assert data.part_of(empty) == "train" and "all, 4" in data.described(empty, "train", range(4))
        with pytest.raises(SystemExit, match="expected data for validation, found none"):
            data.part_of(empty, "val")


def test_the_order_depends_on_seed_and_epoch_alone(arrays: tuple[ModuleType, Path]) -> None:
    data, folder = arrays
    orders = {}
    for workers, world in ((0, 1), (2, 1), (0, 2), (0, 4)):
        ranks = [
            data.loaders(folder, batch_size=5, seed=3, workers=workers, rank=r, world=world)[0] for r in range(world)
        ]
        for epoch in (0, 1):
            for loader in ranks:
                data.set_epoch(loader, epoch)
            parts = [[x[:, 0] for x, _ in loader] for loader in ranks]
            assert len({len(part) for part in parts}) == 1 and all(len(x) for part in parts for x in part)
            batches = [sorted(torch.cat(pieces).tolist()) for pieces in zip(*parts, strict=True)]
            orders[workers, world, epoch] = batches if world < 4 else batches[:-1]
    for workers, world in ((2, 1), (0, 2)):
        assert [orders[workers, world, e] for e in (0, 1)] == [orders[0, 1, e] for e in (0, 1)]
    assert orders[0, 4, 0] == orders[0, 1, 0][:3], (
        "the last two samples join the batch before: four processes want one each"
    )
    assert orders[0, 1, 0] != orders[0, 1, 1]
    assert sorted(x for batch in orders[0, 1, 1] for x in batch) == [6.0 * i for i in range(22)]


def test_an_epoch_goes_on_where_it_stopped(arrays: tuple[ModuleType, Path]) -> None:
    data, folder = arrays
    loader, _ = data.loaders(folder, batch_size=5, seed=3)
    data.set_epoch(loader, 2)
    whole = [y.tolist() for _, y in loader]
    data.set_epoch(loader, 2, start=3)
    assert [y.tolist() for _, y in loader] == whole[3:] and len(loader) == 2


def test_validation_is_split_as_fit_splits(arrays: tuple[ModuleType, Path], tmp_path: Path) -> None:
    data, folder = arrays
    train, val = data.loaders(folder, batch_size=5, validation_split=0.3, shuffle=False)
    assert [len(train.dataset), len(val.dataset)] == [15, 7]  # floor(22 * 0.7)
    assert next(iter(val))[0][0, 0] == 15 * 6
    for name in ("x", "y"):
        array = np.load(folder / f"{name}.npy")
        np.save(tmp_path / f"{name}.npy", array)
        np.save(tmp_path / f"{name}_val.npy", array[:4])
    assert len(data.loaders(tmp_path, batch_size=5, validation_split=0.3)[1].dataset) == 4


# -- what does not fit ---------------------------------------------------------------------------------------


MISFITS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "another shape": ({"x": np.zeros((4, 5), np.float32)}, ["/x: expected the shape (N, 6,)", "(4, 5)"]),
    "a class too many": ({"y": np.array([0, 1, 2, 3])}, ["/y: expected classes 0 to 2", "0 to 3"]),
    "no targets": ({"y": None}, ["expected an array y", "found x"]),
    "unequal lengths": ({"y": np.zeros(3, np.int64)}, ["arrays of one length"]),
    "nothing": ({"x": None, "y": None}, ["expected x.npy"]),
}


@pytest.mark.parametrize("what", MISFITS)
def test_arrays_that_do_not_fit(arrays: tuple[ModuleType, Path], what: str, tmp_path: Path) -> None:
    change, words = MISFITS[what]
    for name, array in ({"x": np.zeros((4, 6), np.float32), "y": np.zeros(4, np.int64)} | change).items():
        if array is not None:
            np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(SystemExit) as error:
        arrays[0].loaders(tmp_path, batch_size=2)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_other_data_that_does_not_fit(files: Path, truth: Mapping[str, np.ndarray[Any, Any]], tmp_path: Path) -> None:
    """`truth`: its process writes the records."""
    images, table = generated(tmp_path / "i", "images", PICTURE), generated(tmp_path / "c", "csv", VECTOR)
    records, texts = generated(tmp_path / "t", "tfrecord", VECTOR), generated(tmp_path / "w", "text", TOKENS)
    (tmp_path / "bad.tfrecord").write_bytes((files / "records" / "part-0.tfrecord").read_bytes()[7:])
    (tmp_path / "short.csv").write_text("a,b,label\n1,2,0\n")
    (tmp_path / "words.csv").write_text("a,b,c,d,e,f,label\n1,2,3,4,5,six,0\n")
    attempts: list[tuple[Callable[[], Any], str]] = [
        (lambda: images.labelled(files / "lossless", batch_size=2), "expected 3 folders, one a class, found 2"),
        (lambda: images.unlabelled(tmp_path, batch_size=2), "expected images"),
        (lambda: table.labelled(tmp_path / "short.csv", batch_size=2), "expected 6 columns of inputs, found 2: a, b"),
        (lambda: table.labelled(tmp_path / "words.csv", batch_size=2), "expected numbers"),
        (lambda: table.labelled(tmp_path / "nowhere", batch_size=2), "expected train.csv"),
        (lambda: records.labelled(tmp_path / "bad.tfrecord", batch_size=2), "expected a TFRecord"),
        (lambda: records.labelled(tmp_path / "i", batch_size=2), "expected .tfrecord files"),
        (lambda: texts.labelled(tmp_path / "nowhere", batch_size=2), "expected a folder per class"),
    ]  # fmt: skip
    for attempt, words in attempts:
        with pytest.raises(SystemExit) as error:
            attempt()
        assert words in str(error.value), str(error.value)


def test_targets_follow_the_model(files: Path, tmp_path: Path) -> None:
    """A single sigmoid wants 0.0 and 1.0, a softmax with categorical cross-entropy one value a class."""
    binary = generated(tmp_path / "binary", "images", PICTURE, BINARY, "sigmoid")
    _, y = next(iter(binary.labelled(files / "lossless", batch_size=10)))
    assert y.shape == (10, 1) and y.dtype == torch.float32 and y.unique().tolist() == [0.0, 1.0]
    one_hot = generated(tmp_path / "one", "csv", VECTOR, VALUES, "softmax")
    _, y = next(iter(one_hot.labelled(files / "table.csv", batch_size=3)))
    assert y.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    (tmp_path / "names.csv").write_text(
        "a,b,c,d,e,f,label\n" + "\n".join(f"1,2,3,4,5,6,{n}" for n in ("dog", "ant", "cat"))
    )
    named = generated(tmp_path / "named", "csv", VECTOR)
    assert next(iter(named.labelled(tmp_path / "names.csv", batch_size=3)))[1].tolist() == [2, 0, 1]


def test_kinds_that_do_not_fit_the_model_are_refused() -> None:
    for kind, inputs, outputs in (
        ("images", VECTOR, CLASSES), ("text", VECTOR, CLASSES), ("csv", TOKENS, CLASSES), ("images", (PICTURE, VECTOR), CLASSES),
    ):  # fmt: skip
        with pytest.raises(UserError, match=f"--data {kind} does not fit the model"):
            data_files(plan(kind, inputs, outputs))


# -- the text ------------------------------------------------------------------------------------------------


def test_every_data_py_is_clean(tmp_path: Path) -> None:
    """ruff finds nothing; one small package a kind at most; the README says where files go."""
    hostile = dataclasses.replace(VECTOR, keras_name='"""\nimport os', name="x")
    cases = {
        "arrays": plan("arrays", (PICTURE, hostile), (CLASSES, BINARY)), "images": plan("images", PICTURE, VALUES),
        "csv": plan("csv", hostile, VALUES), "tfrecord": plan("tfrecord", PICTURE, VALUES),
        "numbers": plan("tfrecord", VECTOR), "text": plan("text", SIX, BINARY, "sigmoid"),
    }  # fmt: skip
    for name, made in cases.items():
        for file, text in data_files(made).items():
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / file).write_text(text)
            compile(text, file, "exec")
        assert len(data_requirements(made)) <= 2 and data_readme(made).startswith("## Data\n")
    rules = "E,F,W,I,UP,B,SIM,C4,RET,RUF,PIE,PTH"
    base = [sys.executable, "-m", "ruff"]
    for name in cases:
        for command in (["check", "--select", rules], ["format", "--check"]):
            done = subprocess.run(
                [*base, *command, "--isolated", "--line-length=120", "--target-version=py311", "."],
                cwd=tmp_path / name, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{name}: {done.stdout}"
