"""PyTorch weights back into the Keras file: the round trip is the identity, and Keras predicts what PyTorch does."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import migrate
from converters.errors import UserError
from converters.weights import from_json
from migrate.checkpoint import read_state
from migrate.loading import read_migration
from migrate.pipeline import convert_file
from migrate.readers import read
from migrate.reference.client import Client
from parity_tests.archives import edited
from parity_tests.case import Case, case
from parity_tests.conftest import Bench
from parity_tests.parity import judge

keras2 = partial(case, generation=2)
SHARED = (
    "lambda x: (lambda d, make: Dense(2)(make(d, 'two')(make(d, 'one')(x))))(Dense(6, activation='tanh', name='both'), "
    "lambda d, name: (lambda i: keras.Model(i, d(i), name=name))(keras.Input((6,))))"
)
CASES = [
    case("convolutions", "Conv2D(4, 3, strides=2, padding='same'), BatchNormalization(), SeparableConv2D(5, 3), Conv2DTranspose(4, 3, strides=2, padding='same'), DepthwiseConv2D(3, depth_multiplier=2), Conv2D(4, 3, groups=2), Flatten(), BatchNormalization(scale=False), Dense(3)", (13, 12, 3), formats=("keras", "h5")),
    case("one and three dimensions", "Conv3D(3, 2), Conv3DTranspose(2, 2, strides=2), BatchNormalization(center=False), Reshape((-1, 2)), Conv1D(4, 3), SeparableConv1D(4, 3), Conv1DTranspose(3, 2, strides=2), Flatten(), Dense(2)", (4, 3, 4, 2)),
    case("lstm", "Bidirectional(LSTM(3, return_sequences=True)), LSTM(4, recurrent_activation='hard_sigmoid', return_sequences=True), SimpleRNN(3)", (7, 4)),
    case("gru", "Bidirectional(GRU(3, return_sequences=True), merge_mode='sum'), GRU(4, reset_after=False, return_sequences=True), GRU(3, use_bias=False)", (7, 4)),
    case("masked text", "Embedding(50, 4, mask_zero=True), Bidirectional(GRU(3, return_sequences=True)), Bidirectional(LSTM(3, return_sequences=True)), LSTM(5), Dense(2)", ("int32", 9)),
    case("convolutional lstm", "ConvLSTM2D(3, 3, return_sequences=True), TimeDistributed(Flatten()), TimeDistributed(Dense(4)), Flatten(), Dense(2)", (3, 6, 5, 2)),
    case("attention", "lambda x: EinsumDense('abc,cde->abde', output_shape=(None, 2, 3), bias_axes='de')(LayerNormalization()(MultiHeadAttention(2, 3, value_dim=5)(x, x)))", (7, 4)),
    case("grouped attention", "lambda x: LayerNormalization()(GroupQueryAttention(3, 4, 2)(x, x))", (7, 6)),
    case("normalizations", "Normalization(), Dense(6), PReLU(), Dense(4), Normalization(mean=[0.1, 0.2, 0.3, 0.4], variance=[1.5, 2.0, 0.5, 1.1])", (5, 4)),
    case("two branches, flattened", "lambda x: Dense(3)(BatchNormalization()(Concatenate()([Flatten()(Conv2D(2, 3)(x)), Flatten()(MaxPooling2D()(x))])))", (6, 7, 2)),
    case("nested", "lambda x: keras.Sequential([layers.Input((6, 6, 2)), Conv2D(3, 3, trainable=False), keras.Sequential([layers.Input((4, 4, 3)), BatchNormalization(), Flatten(), Dense(4)], name='inner'), Dense(5)], name='outer')(x)", (6, 6, 2), formats=("h5",)),
    case("called twice", "lambda x: (lambda d: d(d(x)))(Dense(4, activation='tanh'))", (4,)),
    keras2("keras 2", "Conv2D(4, 3, padding='same', strides=2), BatchNormalization(), ReLU(), Flatten(), Dense(4), LeakyReLU(0.3)", (8, 8, 3), formats=("h5",)),
    keras2("keras 2, recurrent", "Bidirectional(LSTM(3, return_sequences=True)), GRU(4, reset_after=False), Dense(2)", (7, 4)),
    keras2("keras 2, part of it frozen", "lambda x: Dense(2)(keras.Sequential([layers.Input((6,)), Dense(4, trainable=False), BatchNormalization(), Dense(4), BatchNormalization(trainable=False), Dense(5)], name='tower')(x))", (6,), formats=("h5",)),
    keras2("keras 2, a layer in two models", SHARED, (6,), formats=("h5",)),
]  # fmt: skip
PLAIN = case("to be trained", "LSTM(3, name='memory'), Dense(2, name='head')", (5, 4))
COMPILED = "model: (lambda m: (m.compile('adam', 'mse'), m.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0), m)[2])(keras.Sequential([layers.Input((3,)), Dense(4), BatchNormalization(), Dense(2)]))"


@pytest.fixture(scope="module")
def keras() -> Iterator[Client]:
    """A worker of our own: the one of the whole run has other work queued."""
    with Client() as client:
        client.send(do="versions", generation=3)  # TensorFlow is imported while the first models are converted
        yield client
        client.process.kill()


@pytest.fixture(scope="module")
def plain(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(model file, project) of a small model."""
    folder = tmp_path_factory.mktemp("plain")
    path = Path(bench.ask(PLAIN)["paths"][0])
    convert_file(path, folder / "project")
    return path, folder / "project"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_there_and_back(case: Case, built: Mapping[str, Any], keras: Client, tmp_path: Path) -> None:
    """Bit for bit as it was; then, with other weights, equal predictions of both sides in float64 and float32."""
    for path in map(Path, built["paths"]):
        folder, new = tmp_path / f"of_{path.suffix[1:]}", tmp_path / f"new{path.suffix}"
        convert_file(path, folder)
        done = migrate.backport(folder, path, new)
        assert done.changed == 0 and done.arrays > 0
        assert new.read_bytes() == path.read_bytes()
        perturb(folder, np.random.default_rng(1))
        with read(path) as source:
            copies = len(source.copies)
        assert migrate.backport(folder, path, new, overwrite=True).changed == len(learned(folder)) + copies
        assert copies == (2 if case.name == "keras 2, a layer in two models" else 0)
        for what, verdict in judge(folder, run(keras, new, built["reference"], case.generation), case.leak):
            assert verdict.passed, f"{path.name} {what}: {verdict}"


def perturb(folder: Path, random: np.random.Generator) -> None:
    """Moves all weights that Keras has, as a training would: what is one parameter stays one."""
    expressions = read_migration(folder)["weights"]
    model = migrate.load(folder)
    named = [*model.named_parameters(), *model.named_buffers()]
    for key, tensor in named:
        if any(True for _ in from_json(expressions[key]).leaves()):
            noise = torch.from_numpy(random.normal(0, 0.1, tuple(tensor.shape))).to(tensor.dtype)
            tensor.data += noise.abs() if key.endswith("running_var") else noise
    save_file(
        {key: tensor.detach().clone() for key, tensor in model.state_dict().items()}, folder / "weights.safetensors"
    )


def learned(folder: Path) -> set[str]:
    """The arrays of the file, of floats, that a project's weights are made of."""
    leaves = (leaf for data in read_migration(folder)["weights"].values() for leaf in from_json(data).leaves())
    return {leaf.key for leaf in leaves if leaf.dtype.startswith("float")}


def run(client: Client, path: Path, reference: str, generation: int) -> dict[str, np.ndarray[Any, Any]]:
    """What Keras predicts on the inputs of a reference, with these inputs."""
    inputs = {key: array for key, array in np.load(reference).items() if key.startswith("in/")}
    np.savez(path.parent / "inputs.npz", **{key.removeprefix("in/"): array for key, array in inputs.items()})
    client.send(
        do="run", model=str(path), inputs=str(path.parent / "inputs.npz"), outputs=str(path.parent / "outputs.npz"),
        dtypes=["float64", "float32"], generation=generation,
    )  # fmt: skip
    while "outputs" not in (answer := client.receive()):
        assert answer["ok"], answer
    return inputs | dict(np.load(answer["outputs"]))


# -- what stays, and what cannot be written ----------------------------------------------------------------


def test_the_rest_of_the_file_stays(bench: Bench, tmp_path: Path) -> None:
    """Config, metadata and the optimizer's state: byte for byte; and the state is said to be stale."""
    path = Path(bench.ask(case("compiled", COMPILED))["paths"][0])
    convert_file(path, tmp_path / "out")
    perturb(tmp_path / "out", np.random.default_rng(2))
    done = migrate.backport(tmp_path / "out", path, tmp_path / "new.keras")
    assert any("optimizer state" in note for note in done.notes)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "new.keras") as new:
        assert old.namelist() == new.namelist()
        names = set(old.namelist()) - {"model.weights.h5"}
        assert {name: old.read(name) for name in names} == {name: new.read(name) for name in names}
        before, after = (archive.read("model.weights.h5") for archive in (old, new))
    inside = ranges(before, learned(tmp_path / "out"), tmp_path)
    moved = np.flatnonzero(np.frombuffer(before, np.uint8) != np.frombuffer(after, np.uint8))
    assert len(before) == len(after) and len(moved)
    assert all(any(start <= place < end for start, end in inside) for place in moved)


def ranges(data: bytes, keys: set[str], folder: Path) -> list[tuple[int, int]]:
    """Where in an HDF5 file the numbers of some arrays lie."""
    (folder / "weights.h5").write_bytes(data)
    with h5py.File(folder / "weights.h5") as file:
        offsets = [(file[key].id.get_offset(), file[key].id.get_storage_size()) for key in keys]
    return [(start, start + size) for start, size in offsets]


@pytest.mark.parametrize("kind", ["safetensors", "state dict", "checkpoint", "wrapped", "float64", "bfloat16"])
def test_checkpoints(plain: tuple[Path, Path], kind: str, tmp_path: Path) -> None:
    path, project = plain
    model = migrate.load(project)
    with torch.no_grad():
        model.head.weight += 0.25
    state = model.state_dict()
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pt")
    if kind == "safetensors":
        save_file(state, file)
    elif kind in ("float64", "bfloat16"):
        torch.save({key: value.to(getattr(torch, kind)) for key, value in state.items()}, file)
    elif kind == "wrapped":
        torch.save({f"module._orig_mod.{key}": value for key, value in state.items()}, file)
    else:
        torch.save({"epoch": 3, "model": state} if kind == "checkpoint" else state, file)
    done = migrate.backport(project, path, tmp_path / "new.keras", weights=file)
    migrate.transfer(tmp_path / "new.keras", copy_of(project, tmp_path))
    found = load_file(tmp_path / "project" / "weights.safetensors")
    for key, value in state.items():
        expected = value.bfloat16().float() if kind == "bfloat16" else value
        assert torch.equal(found[key], expected), key
    assert bool(done.notes) == (kind in ("float64", "bfloat16"))
    assert done.changed == (4 if kind == "bfloat16" else 1)


def copy_of(project: Path, folder: Path) -> Path:
    (folder / "project").mkdir()
    for file in project.iterdir():
        if file.is_file():
            (folder / "project" / file.name).write_bytes(file.read_bytes())
    return folder / "project"


def _trained_hidden_bias(state: dict[str, torch.Tensor]) -> Any:
    state["memory.bias_hh_l0"][2] = 0.5
    return state


BROKEN: dict[str, tuple[Callable[[dict[str, torch.Tensor]], Any], list[str]]] = {
    "a bias that Keras has not": (_trained_hidden_bias, ["memory.bias_hh_l0", "'memory' (LSTM)", "0.5", "[2]"]),
    "a missing weight": (lambda s: {k: v for k, v in s.items() if k != "head.bias"}, ["'head.bias' is missing"]),
    "one too much": (lambda s: s | {"extra": torch.zeros(1)}, ["'extra' is there as well"]),
    "another shape": (
        lambda s: s | {"head.bias": torch.zeros(3)},
        ["head.bias", "'head' (Dense)", "[2] float32", "[3]"],
    ),
    "integers": (lambda s: s | {"head.bias": torch.zeros(2, dtype=torch.int32)}, ["head.bias", "int32"]),
    "two of them": (lambda s: {"model": s, "average": s}, ["more than once", "/model", "/average"]),
    "no state dict": (lambda s: [1, 2], ["no weights of this model", "a list"]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_written_is_refused_by_name(plain: tuple[Path, Path], what: str, tmp_path: Path) -> None:
    path, project = plain
    change, words = BROKEN[what]
    torch.save(change(load_file(project / "weights.safetensors")), tmp_path / "w.pt")
    with pytest.raises(UserError) as error:
        migrate.backport(project, path, tmp_path / "new.keras", weights=tmp_path / "w.pt")
    assert all(word in str(error.value) for word in words), str(error.value)
    assert list(tmp_path.iterdir()) == [tmp_path / "w.pt"]


def test_a_broken_tie_is_refused(bench: Bench, tmp_path: Path) -> None:
    """One layer in two models is one parameter; a state dict that says otherwise has no place in the file."""
    path = next(Path(p) for p in bench.ask(CASES[-1])["paths"])
    convert_file(path, tmp_path / "out")
    state = load_file(tmp_path / "out" / "weights.safetensors")
    twins = [key for key in state if key.endswith("both.bias")]
    assert len(twins) == 2
    state[twins[1]] = state[twins[1]] + 1
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="another tensor is the same weight"):
        migrate.backport(tmp_path / "out", path, tmp_path / "new.h5", weights=tmp_path / "w.safetensors")


class Evil:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def test_no_code_of_a_checkpoint_is_run(
    plain: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(UserError, match="cannot be read as weights"):
        migrate.backport(plain[1], plain[0], tmp_path / "new.keras", weights=tmp_path / "evil.pt")
    (tmp_path / "model.pt").write_text("import torch")
    for file in ("evil.pt", "model.pt"):
        with pytest.raises(UserError) as error:
            migrate.backport(plain[1], plain[0], tmp_path / "new.keras", weights=tmp_path / file)
        assert "weights_only" not in str(error.value), "torch's advice to load it as code"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.keras", "w.safetensors"])
def test_what_is_no_checkpoint_is_refused(plain: tuple[Path, Path], name: str, tmp_path: Path) -> None:
    """Whatever torch makes of the bytes: a KeyError of the unpickler, for example."""
    random = np.random.default_rng(0).bytes(500)
    for content in (b"hello world\n", b"", b"}", b"\x80\x02", b"PK\x03\x04", b"(dp0\n.", b"\xff\xd8\xff", random):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=r"cannot be read as weights|holds no weights"):
            migrate.backport(plain[1], plain[0], tmp_path / "new.keras", weights=tmp_path / name)


def test_weights_of_the_other_form_are_told(tmp_path: Path) -> None:
    """The BatchNorm of --exact counts no batches: its weights lack a key, or have one too many."""
    state = {"bn.weight": torch.zeros(2), "bn.num_batches_tracked": torch.zeros(())}
    torch.save(state, tmp_path / "plain.pt")
    torch.save({"bn.weight": torch.zeros(2)}, tmp_path / "exact.pt")
    for name, keys, words in (("exact", [*state], "written without --exact"), ("plain", ["bn.weight"], "with --exact")):
        with pytest.raises(UserError, match=f"{words}, the weights come from one"):
            read_state(tmp_path / f"{name}.pt", keys)


def test_a_folder_that_is_none(plain: tuple[Path, Path], tmp_path: Path) -> None:
    for folder, found in ((tmp_path / "nodir", "no such folder"), (tmp_path, "a folder without migration.json")):
        with pytest.raises(UserError, match=f"found: {found}"):
            migrate.backport(folder, plain[0], tmp_path / "new.keras")


def test_where_it_writes(plain: tuple[Path, Path], tmp_path: Path) -> None:
    path, project = plain
    with pytest.raises(UserError, match="the original itself"):
        migrate.backport(project, path, path, overwrite=True)
    (tmp_path / "there.keras").write_text("mine")
    with pytest.raises(UserError, match="--overwrite"):
        migrate.backport(project, path, tmp_path / "there.keras")
    assert (tmp_path / "there.keras").read_text() == "mine"
    with pytest.raises(UserError, match=r"choose -o new\.keras"):
        migrate.backport(project, path, tmp_path / "new.h5")


def test_another_models_file_is_refused(plain: tuple[Path, Path], tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        layers = config["config"]["layers"]
        layers[-1]["config"]["activation"] = "relu"

    other = edited(plain[0], tmp_path / "other.keras", change)
    with pytest.raises(UserError, match="'head'"):
        migrate.backport(plain[1], other, tmp_path / "new.keras")


def test_command(plain: tuple[Path, Path], tmp_path: Path) -> None:
    from parity_tests.test_cli import refused, tf2torch

    path, project = plain
    result = tf2torch("backport", project, path, "-o", tmp_path / "new.keras")
    assert result.exit_code == 0 and "0 of 5 arrays have new numbers" in result.output
    found = json.loads(tf2torch("backport", project, path, "-o", tmp_path / "again.keras", "--json").stdout)
    assert found["ok"] and found["arrays"] == 5 and found["changed"] == 0
    refused(tf2torch("backport", project, path, "-o", tmp_path / "new.keras"), "exists", "--overwrite")
