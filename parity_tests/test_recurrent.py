"""What the cases of recurrent layers cannot say: dropout in training, dynamic export, precisions, refusals, `exact`."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import migrate
from converters.local import noise, recurrent
from migrate import simplify
from parity_tests.archives import edited
from parity_tests.case import case
from parity_tests.conftest import Bench
from parity_tests.parity import flat

TOKENS = "model: keras.Sequential([layers.Input((None,), dtype='int32'), Embedding(50, 4, mask_zero=True), "
MASKED = case("masked rows", TOKENS + "Bidirectional(LSTM(5, return_sequences=True)), GRU(3)])", ("int32", None))
FRAMES = case(
    "frames", "TimeDistributed(Conv1D(4, 3)), TimeDistributed(Flatten()), Bidirectional(GRU(3))", (None, 6, 2)
)
DROPPED = case("dropped", "Bidirectional(LSTM(4, dropout=0.5, return_sequences=True))", (6, 3))
NORMED = case("normed", "TimeDistributed(BatchNormalization())", (5, 3))
STEPWISE: dict[str, tuple[Callable[..., Any], int]] = {
    "LSTM": (recurrent.DropoutLSTM, 2),
    "GRU": (recurrent.DropoutGRU, 1),
    "RNN": (recurrent.DropoutRNN, 1),
}


# -- dropout ---------------------------------------------------------------------------------------------


def test_dropout_of_inputs_hides_a_feature_at_all_steps() -> None:
    torch.manual_seed(0)
    dropped = noise.SharedDropout(0.25, (1,)).train()(torch.ones(2000, 7, 5))
    assert (dropped == dropped[:, :1]).all(), "the same at all steps"
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert abs(dropped.mean().item() - 1) < 0.02, "what stays is scaled up"
    assert not (dropped[0] == dropped).all(), "each row has its own"


def test_dropout_of_samples_hides_all_of_one() -> None:
    torch.manual_seed(0)
    layer = noise.StochasticDepth(0.25).train()
    dropped = layer(torch.ones(4000, 3, 2, 2))
    assert (dropped == dropped[:, :1, :1, :1]).all(), "the same for all of a sample"
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.75]))
    assert abs(dropped.mean().item() - 1) < 0.03, "what stays is scaled up"
    assert layer.eval()(dropped) is dropped, "nothing in inference"


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_dropout_of_samples_takes_any_rank_and_can_be_exported(rank: int) -> None:
    layer, x = noise.StochasticDepth(0.5).train(), torch.ones(64, *[3] * (rank - 1))
    exported = torch.export.export(layer, (x,)).module()(x)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    for made in (layer(x), exported, compiled):
        torch.testing.assert_close(made.unique(), torch.tensor([0.0, 2.0]))


@pytest.mark.parametrize("kind", STEPWISE)
def test_dropout_of_gates_lasts_for_a_sequence(kind: str) -> None:
    torch.manual_seed(0)
    layer = STEPWISE[kind][0](3, 4, dropout=0.5, recurrent_dropout=0.5, bias=False).double()
    x, h = torch.randn(1, 1, 3).double().expand(20_000, 6, 3), torch.randn(1, 4).double().expand(20_000, 4)
    inputs, hidden = layer.train().maps(20_000)
    assert (inputs(x) == inputs(x)[:, :1]).all() and (hidden(h) == hidden(h)).all(), "the same at all steps"
    assert not torch.equal(inputs(x), layer.maps(20_000)[0](x)), "drawn anew for each batch"
    for found, whole in ((inputs(x)[:, 0], layer.input(x)[:1, 0]), (hidden(h), layer.hidden(h)[:1])):
        assert (found.mean(0) - whole[0]).abs().max() < 6 * found.std() / 20_000**0.5, "the mean stays"
    still = layer.eval().maps(20_000)
    assert still == (layer.input, layer.hidden)


def test_each_gate_has_its_own_dropout() -> None:
    torch.manual_seed(0)
    layer = recurrent.DropoutLSTM(3, 4, recurrent_dropout=0.5, bias=False).train()
    with torch.no_grad():
        layer.hidden.weight.fill_(1.0)
    gates = layer.maps(50)[1](torch.ones(50, 4)).reshape(50, 4, 4)
    assert (gates == gates[:, :, :1]).all(), "the units of a gate see the same state"
    assert not (gates[:, 0] == gates[:, 1]).all(), "two gates do not"


@pytest.mark.parametrize("kind", STEPWISE)
def test_training_without_rates_is_inference(kind: str) -> None:
    torch.manual_seed(0)
    layer, x = STEPWISE[kind][0](3, 4), torch.randn(2, 6, 3)
    torch.testing.assert_close(layer.train()(x), layer.eval()(x))


# -- one mask more ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [False, True])
def test_stepwise_is_what_valid_first_computes(start: bool) -> None:
    """Two ways to the same: nn.GRU over the steps that count, and the loop. Gradients included; padding gets none."""
    torch.manual_seed(0)
    mask = torch.rand(6, 9) > 0.4
    mask[0], mask[1, :3], mask[2, -3:] = False, False, False
    x = torch.randn(6, 9, 3, dtype=torch.float64, requires_grad=True)
    h = torch.randn(6, 4, dtype=torch.float64) if start else None
    loop = recurrent.StepwiseGRU(3, 4).double()
    fast = nn.GRU(3, 4, batch_first=True).double()
    order = torch.cat([torch.arange(4, 8), torch.arange(4), torch.arange(8, 12)])  # z, r, n -> r, z, n
    with torch.no_grad():
        for ours, theirs in (("input", "ih"), ("hidden", "hh")):
            getattr(fast, f"weight_{theirs}_l0").copy_(getattr(loop, ours).weight[order])
            getattr(fast, f"bias_{theirs}_l0").copy_(getattr(loop, ours).bias[order])
    outputs, _ = fast(recurrent.valid_first(x, mask), None if h is None else h[None])
    sequence, (state,) = loop(x, () if h is None else (h,), mask)
    torch.testing.assert_close(recurrent.carry_forward(outputs, mask), sequence)
    torch.testing.assert_close(recurrent.last_valid(outputs, mask), sequence[:, -1])
    torch.testing.assert_close(state if h is None else recurrent.last_state(outputs, mask, h), state)
    (one,), (two,) = (
        torch.autograd.grad(y.square().sum(), x, retain_graph=True)
        for y in (sequence, outputs * 0 + recurrent.carry_forward(outputs, mask))
    )
    torch.testing.assert_close(one, two)
    assert (one[~mask] == 0).all() and (one[mask] != 0).any()


@pytest.mark.parametrize(
    ("layers", "sorts"),
    [
        ("GRU(5, return_sequences=True), LSTM(4, return_sequences=True), LSTM(3)", 1),
        ("LSTM(5, return_sequences=True), Dense(3), LSTM(3)", 2),
        ("LSTM(5, return_sequences=True), LSTM(4, go_backwards=True)", 2),
    ],
)
def test_a_stack_sorts_its_steps_once(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layers: str, sorts: int
) -> None:
    """The next recurrent layer passes over hidden steps, gaps and rows of padding included; gradients too."""
    source = Path(bench.ask(case(f"stack {layers}", f"{TOKENS}{layers}])", ("int32", None)))["paths"][0])
    migrate.convert(source, tmp_path / "short")
    monkeypatch.setattr(simplify, "STEPS", [step for step in simplify.STEPS if step is not simplify.sorted_once])
    migrate.convert(source, tmp_path / "long")
    texts = [(tmp_path / name / "model.py").read_text() for name in ("short", "long")]
    assert [text.count("valid_first(") - 1 for text in texts] == [sorts, layers.count("(") - layers.count("Dense(")]
    tokens = torch.randint(0, 3, (16, 9), dtype=torch.int32)
    tokens[0] = 0
    found = []
    for name in ("short", "long"):
        model = migrate.load(tmp_path / name).double().eval()
        y = model(tokens)
        found.append([y, *torch.autograd.grad(y.square().sum(), [p for p in model.parameters() if p.requires_grad])])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    ("layers", "once"),
    [("LSTM, LSTM, LSTM", True), ("LSTM, LSTM, GRU", False), ("LSTM, LSTM", False)],  # the second bias of a GRU learns
)
def test_a_bias_that_stays_zero_is_said_once(bench: Bench, tmp_path: Path, layers: str, once: bool) -> None:
    stack = ", ".join(f"{name}(3, return_sequences=True)" for name in layers.split(", "))
    migrate.convert(Path(bench.ask(case(f"biases {layers}", stack, (5, 2)))["paths"][0]), tmp_path / "out")
    text = (tmp_path / "out" / "model.py").read_text()
    assert ("self.named_parameters()" in text) is once and text.count("requires_grad_") == (1 if once else 2), text
    model = migrate.load(tmp_path / "out")
    learn = [p.requires_grad for name, p in model.named_parameters() if "bias_hh" in name]
    assert learn == ["GRU" in name for name in layers.split(", ")]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_masked_bidirectional_is_a_packed_one(kind: Any) -> None:
    """Against PyTorch's own module on a packed sequence: outputs, ends and gradients."""
    torch.manual_seed(0)
    mask = torch.rand(6, 9) > 0.4
    mask[0, :4], mask[1, -4:], mask[:, 4] = False, False, True  # padding left and right, gaps, no empty row
    x = torch.randn(6, 9, 3, dtype=torch.float64, requires_grad=True)
    ours, theirs = recurrent.MaskedBidirectional(kind, 3, 4).double(), kind(3, 4, bidirectional=True, batch_first=True)
    state = {f"{key}_reverse": value for key, value in ours.backward_layer.state_dict().items()}
    theirs.double().load_state_dict(ours.forward_layer.state_dict() | state)
    outputs, last = ours(x, mask)
    packed = pack_padded_sequence(recurrent.valid_first(x, mask), mask.sum(1), batch_first=True, enforce_sorted=False)
    sequence, end = theirs(packed)
    expected = pad_packed_sequence(sequence, batch_first=True, total_length=9)[0]
    valid = torch.arange(9) < mask.sum(1, keepdim=True)
    torch.testing.assert_close(outputs[mask], expected[valid])
    assert (outputs[~mask] == 0).all() and (outputs[mask] != 0).all()
    torch.testing.assert_close(last, torch.cat([*(end[0] if kind is nn.LSTM else end)], dim=-1))
    (one,), (two,) = (torch.autograd.grad(y.square().sum(), x, retain_graph=True) for y in (outputs, expected[valid]))
    torch.testing.assert_close(one, two)
    assert (ours(x, torch.zeros_like(mask))[1] == 0).all(), "nothing but padding"


@pytest.mark.parametrize("own", ["LSTM(3)", "GRU(3, return_state=True)", "SimpleRNN(3, dropout=0.2)"])
def test_both_directions_under_a_mask_are_one_module(bench: Bench, tmp_path: Path, own: str) -> None:
    model = f"lambda t: Bidirectional({own}, merge_mode='sum')(Embedding(50, 4, mask_zero=True)(t))"
    migrate.convert(Path(bench.ask(case(f"one module {own}", model, ("int32", 9)))["paths"][0]), tmp_path / "out")
    text = (tmp_path / "out" / "model.py").read_text()
    kind = own.partition("(")[0].removeprefix("Simple")
    assert f"self.{kind.lower()} = MaskedBidirectional(nn.{kind}, 4, 3)" in text, text
    assert f"self.{kind.lower()}(x, tokens != 0)" in text and "flip" not in text.partition("class Model")[2], text


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ("Embedding(50, 4), GRU(3, return_sequences=True), Dense(50, activation='softmax')", True),
        ("Embedding(50, 4), GRU(3), Dense(50, activation='softmax')", False),  # fifty classes, maybe
    ],
)
def test_a_vocabulary_is_said_once(bench: Bench, tmp_path: Path, layers: str, said: bool) -> None:
    migrate.convert(Path(bench.ask(case(f"vocabulary {said}", layers, ("int32", 9)))["paths"][0]), tmp_path / "out")
    text = (tmp_path / "out" / "model.py").read_text()
    assert ("vocab_size: int = 50" in text, "logits.transpose(1, 2)" in text) == (said, said), text
    if said:
        larger = type(migrate.load(tmp_path / "out"))(vocab_size=60)
        tokens = torch.full((2, 9), 59)
        F.cross_entropy(larger.logits(tokens).transpose(1, 2), tokens).backward()
        assert larger.embedding.weight.grad is not None and larger.embedding.weight.grad[59].any()


# -- what modules do -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", STEPWISE)
def test_every_precision(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = STEPWISE[kind][0](3, 4, activation=F.softsign, dropout=0.2, recurrent_dropout=0.2)
    x, mask = torch.randn(2, 6, 3), torch.rand(2, 6) > 0.3
    expected = layer.eval()(x, mask=mask)[0]
    found, states = layer.to(dtype)(x.to(dtype), mask=mask)
    assert found.dtype == dtype and all(state.dtype == dtype for state in states)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=5e-2)
    assert layer.train()(x.to(dtype), mask=mask)[0].dtype == dtype
    again = pickle.loads(pickle.dumps(copy.deepcopy(layer.eval())))
    torch.testing.assert_close(again(x.to(dtype), mask=mask)[0], found)


@pytest.mark.parametrize("model", [MASKED, FRAMES], ids=lambda model: model.name)
def test_exports_with_any_batch(bench: Bench, tmp_path: Path, model: Any) -> None:
    """Not with any number of steps: PyTorch fixes it for nn.LSTM and nn.GRU themselves."""
    migrate.convert(Path(bench.ask(model)["paths"][0]), tmp_path / "out")
    converted = migrate.load(tmp_path / "out")

    def drawn(batch: int) -> Tensor:
        tokens = torch.randint(0, 3, (batch, 11), dtype=torch.int32)
        tokens[0] = 0  # nothing but padding
        return tokens if model is MASKED else torch.randn(batch, 11, 6, 2)

    shapes = ({0: Dim("N", min=1, max=64)},)
    with torch.no_grad():
        exported = torch.export.export(converted, (drawn(3),), dynamic_shapes=shapes).module()
        for batch in (3, 7, 1):
            x = drawn(batch)
            torch.testing.assert_close(flat(exported(x)), flat(converted(x)))


# -- exact on request ------------------------------------------------------------------------------------


def test_exact_gives_each_direction_its_own_dropout(bench: Bench, tmp_path: Path) -> None:
    source = Path(bench.ask(DROPPED)["paths"][0])
    migrate.convert(source, tmp_path / "short")
    migrate.convert(source, tmp_path / "exact", exact=True)
    short, exact = (migrate.load(tmp_path / name) for name in ("short", "exact"))
    x = torch.randn(2, 6, 3)
    torch.testing.assert_close(short(x), exact(x))
    assert [type(m) for m in short.children()] == [short.rnn_dropout.__class__, nn.LSTM]
    assert sum(isinstance(m, nn.LSTM) for m in exact.children()) == 2


def test_exact_takes_statistics_step_by_step(bench: Bench, tmp_path: Path) -> None:
    migrate.convert(Path(bench.ask(NORMED)["paths"][0]), tmp_path / "out", exact=True)
    model, x = migrate.load(tmp_path / "out"), torch.randn(16, 5, 3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    made, mean = model.train()(x), before["bn.running_mean"]
    for step in range(5):
        scaled = F.batch_norm(x[:, step], None, None, before["bn.weight"], before["bn.bias"], True, eps=1e-3)
        torch.testing.assert_close(made[:, step], scaled)
        mean = 0.99 * mean + 0.01 * x[:, step].mean(0)
    torch.testing.assert_close(model.state_dict()["bn.running_mean"], mean)


# -- refusals --------------------------------------------------------------------------------------------

REFUSED = {
    "stateful": case("a", "model: keras.Sequential([layers.Input(batch_shape=(2, 6, 3)), LSTM(3, stateful=True)])", options={"batches": [2, 2]}),
    "sets the outputs of other steps to zero": case("b", TOKENS.replace("None", "9") + "GRU(3, unroll=True, go_backwards=True, return_sequences=True, zero_output_for_mask=True)])"),
    "wraps a 'ConvLSTM1D'": case("c", "Bidirectional(ConvLSTM1D(2, 2))", (4, 5, 2)),
    "the activation": case("d", "LSTM(3, activation=keras.layers.LeakyReLU(0.3))", (4, 5)),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_refused_by_name(bench: Bench, tmp_path: Path, reason: str) -> None:
    with pytest.raises(migrate.UserError, match=reason):
        migrate.convert(Path(bench.ask(REFUSED[reason])["paths"][0]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "time_major": lambda lstm: lstm.update(time_major=True),
    "input_projection": lambda lstm: lstm.update(input_projection=3),
    "kernel has the shape": lambda lstm: lstm.update(units=3),
    "expected bool": lambda lstm: lstm.update(go_backwards="yes"),
}


@pytest.mark.parametrize("reason", DAMAGES)
def test_configs_are_checked(bench: Bench, tmp_path: Path, reason: str) -> None:
    def damage(config: dict[str, Any]) -> None:
        wrapped = config["config"]["layers"][1]["config"]
        for key in ("layer", "backward_layer"):
            DAMAGES[reason](wrapped[key]["config"])

    source = edited(bench.ask(DROPPED)["paths"][0], tmp_path / "m.keras", damage)
    with pytest.raises(migrate.UserError, match=reason):
        migrate.convert(source, tmp_path / "out")
