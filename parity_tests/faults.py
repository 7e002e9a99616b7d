"""Faults as people make them, planted in emitted projects: each with the check that must see it, and the layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from migrate.verify.bundle import Bundle

Plant = Callable[[Path, Bundle], None]
State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Fault:
    """`check`: the first one that must fail; `layer`: the damaged one, '' where it is none in particular."""

    name: str
    subject: str
    check: str
    layer: str
    plant: Plant


def text(*pairs: tuple[str, str]) -> Plant:
    """Replaces text of model.py, each the first time that it occurs."""

    def plant(folder: Path, bundle: Bundle) -> None:
        path = folder / "model.py"
        source = path.read_text()
        for old, new in pairs:
            assert old in source, f"{old!r} is not in the emitted text:\n{source}"
            source = source.replace(old, new, 1)
        path.write_text(source)

    return plant


def numbers(change: Callable[[State], Any]) -> Plant:
    """Changes weights.safetensors."""

    def plant(folder: Path, bundle: Bundle) -> None:
        state = {key: tensor.clone() for key, tensor in load_file(folder / "weights.safetensors").items()}
        change(state)
        save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / "weights.safetensors")

    return plant


def recipe(**changes: Any) -> Plant:
    """Trains with something else than what the original was recorded with."""

    def plant(folder: Path, bundle: Bundle) -> None:
        plan = bundle.document["training"]
        for key, value in changes.items():
            if key in ("loss", "loss_weights"):
                plan[key] = value
            else:
                plan["optimizer"]["config"][key] = value

    return plant


def put(key: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    return numbers(lambda state: state.update({key: change(state[key])}))


def one_part_in_a_million(x: torch.Tensor) -> torch.Tensor:
    x.view(-1)[x.abs().argmax()] *= 1 + 1e-6
    return x


def swapped(x: torch.Tensor, parts: int, a: int, b: int) -> torch.Tensor:
    pieces = list(x.chunk(parts))
    pieces[a], pieces[b] = pieces[b], pieces[a]
    return torch.cat(pieces)


def joined_biases(state: State) -> None:
    """What a GRU without reset_after would have: one bias."""
    state["gru.bias_ih_l0"] = state["gru.bias_ih_l0"] + state["gru.bias_hh_l0"]
    state["gru.bias_hh_l0"] = torch.zeros_like(state["gru.bias_hh_l0"])


def wrong_flatten(weight: torch.Tensor) -> torch.Tensor:
    """The columns of a Linear in the order of Keras, which flattens channels last."""
    return weight.unflatten(1, (3, 3, 3)).permute(0, 2, 3, 1).flatten(1)


BAD_LOSS = {"class_name": "CategoricalCrossentropy", "config": {"reduction": "sum"}}
CNN = [
    ("epsilon of the normalization", "layers", "norm", text(("eps=1e-3", "eps=1e-5"))),
    ("momentum of the normalization", "gradients", "norm", text(("momentum=0.01", "momentum=0.1"))),
    ("padding on the wrong side", "layers", "stem", text(("(0, 1, 0, 1)", "(1, 0, 1, 0)"))),
    ("same as symmetric padding", "layers", "stem", text(("(0, 1, 0, 1)", "(1, 1, 1, 1)"))),
    ("tanh-gelu for erf-gelu", "layers", "gelu", text(("F.gelu(self.dilated(x))", 'F.gelu(self.dilated(x), approximate="tanh")'))),
    ("relu for gelu", "layers", "gelu", text(("F.gelu(", "F.relu("))),
    ("softmax over the batch", "layers", "classes", text(("softmax(dim=-1)", "softmax(dim=0)"))),
    ("leaky slope", "layers", "leaky", text((", 0.3, ", ", 0.2, "))),
    ("leaky slope left to the default", "layers", "leaky", text((", 0.3, ", ", "))),
    ("dilation forgotten", "layers", "dilated", text(("padding=2, dilation=2", "padding=1"))),
    ("average pool counts pads", "layers", "average", text((", count_include_pad=False", ""))),
    ("align corners", "layers", "up", text(('mode="bilinear"', 'mode="bilinear", align_corners=True'))),
    ("nearest for bilinear", "layers", "up", text(('mode="bilinear"', 'mode="nearest"'))),
    ("crop off by one", "layers", "crop", text(("[..., 1:-2, 2:-1]", "[..., 2:-1, 2:-1]"))),
    ("crop axes swapped", "layers", "crop", text(("[..., 1:-2, 2:-1]", "[..., 2:-1, 1:-2]"))),
    ("average for max pool", "layers", "largest", text(("F.max_pool2d(", "F.avg_pool2d("))),
    ("frozen layer thawed", "structure", "frozen", text(("        self.frozen.requires_grad_(False)\n", ""))),
    ("layer frozen", "structure", "depthwise", text(("        self.frozen.requires_grad_(False)\n", "        self.frozen.requires_grad_(False)\n        self.depthwise.requires_grad_(False)\n"))),
    ("scale of the input", "layers", "scale", text(("0.0625", "(1 / 255)"))),
    ("sigmoid for tanh", "layers", "hidden", text((".tanh()", ".sigmoid()"))),
    ("activation dropped", "layers", "hidden", text((".tanh()", ""))),
    ("kernel transposed", "layers", "stem", put("stem.weight", lambda x: x.transpose(2, 3))),
    ("kernel flipped", "layers", "depthwise", put("depthwise.weight", lambda x: x.flip(2, 3))),
    ("input channels swapped", "layers", "stem", put("stem.weight", lambda x: x.flip(1))),
    ("order of the flattened features", "layers", "hidden", put("hidden.weight", wrong_flatten)),
    ("bias dropped", "layers", "dilated", put("dilated.bias", torch.zeros_like)),
    ("unbiased running variance", "layers", "norm", put("norm.running_var", lambda x: x * 108 / 107)),
    ("scale and offset of the normalization swapped", "layers", "norm", numbers(lambda s: s.update({"norm.weight": s["norm.bias"], "norm.bias": s["norm.weight"]}))),
    ("one weight off by 1e-6", "layers", "classes", put("classes.weight", one_part_in_a_million)),
    ("statistics of the batch in inference", "structure", "norm", text(("momentum=0.01", "momentum=0.01, track_running_stats=False"))),
    ("learning rate", "training", "", recipe(learning_rate=0.0101)),
    ("beta of the optimizer", "training", "", recipe(beta_2=0.99)),
    ("epsilon of the optimizer", "training", "", recipe(epsilon=1e-3)),
    ("loss reduction", "training", "", recipe(loss=BAD_LOSS)),
]  # fmt: skip
RNN = [
    ("gates swapped", "layers", "gru", numbers(lambda s: s.update({k: swapped(s[k], 3, 0, 1) for k in s if k.startswith("gru.")}))),
    ("recurrent kernel transposed", "layers", "gru", put("gru.weight_hh_l0", lambda x: torch.cat([part.T for part in x.chunk(3)]))),
    ("bias after the reset", "layers", "gru", numbers(joined_biases)),
    ("gates of the cell swapped", "layers", "both", numbers(lambda s: s.update({k: swapped(s[k], 4, 1, 2) for k in s if k.startswith("both.forward_layer.")}))),
    ("merge of the directions", "layers", "both", text(("[ahead[:, -1], back[:, -1]]", "[back[:, -1], ahead[:, -1]]"))),
    ("mask dropped", "layers", "gru", text(("tokens != 0", "tokens != 99"))),
    ("mask of another token", "layers", "gru", text(("tokens != 0", "tokens != 1"))),
    ("embedding shifted by one", "layers", "embedding", put("embedding.weight", lambda x: x.roll(1, 0))),
    ("second bias learns", "structure", "both", text(("bias_hh_l0.requires_grad_(False).zero_()", "bias_hh_l0.zero_()"), ("super().__init__()", "torch.set_grad_enabled(False)\n        super().__init__()"), ("self.square =", "torch.set_grad_enabled(True)\n        self.square ="))),
    ("relu for elu", "layers", "square", text(("F.elu(", "F.relu("))),
    ("nesterov dropped", "training", "", recipe(nesterov=False)),
    ("momentum of the optimizer", "training", "", recipe(momentum=0.8)),
]  # fmt: skip
TWO = [
    ("inputs swapped", "layers", "minus", text(("a - b", "b - a"))),
    ("joined in another order", "layers", "join", text(("torch.cat([F.relu(self.shared(a - b)), self.inner(b)], dim=2)", "torch.cat([self.inner(b), F.relu(self.shared(a - b))], dim=2)"))),
    ("softmax axis", "layers", "weights", text(("softmax(dim=1)", "softmax(dim=2)"))),
    ("outputs swapped", "forward", "first", text(("return self.first(x), self.second(y)", "return self.second(y), self.first(x)"))),
    ("relu of a nested model dropped", "layers", "inner/rectify", text(("F.relu(self.inside(x))", "self.inside(x)"))),
    ("square kernel transposed", "layers", "shared", put("shared.weight", lambda x: x.T)),
    ("layer norm without its epsilon", "layers", "norm", text((", eps=1e-3", ""))),
    ("weight of a loss", "training", "", recipe(loss_weights={"first": 1.0, "second": 0.5})),
    ("losses swapped", "training", "", recipe(loss={"first": "mae", "second": "mse"})),
]  # fmt: skip
DECODER = [
    ("crop on the wrong side", "layers", "up", text(("[..., :-1, :-1]", "[..., 1:, 1:]"))),
    ("slope of each channel mixed up", "layers", "slope", put("slope.weight", lambda x: x.flip(0))),
    ("channels of the reshape", "layers", "grow", put("grow.weight", lambda x: x.unflatten(0, (3, 2, 2)).permute(1, 2, 0, 3).flatten(0, 2))),
    ("output of another layout", "forward", "pixels", text((".permute(0, 2, 3, 1)", ".permute(0, 3, 2, 1)"))),
    ("last activation dropped", "layers", "pixels", text((".sigmoid()", ""))),
]  # fmt: skip
KEYED = [
    ("weight of a loss, by key", "training", "", recipe(loss_weights={"kind": 1.0, "amount": 0.5})),
    ("loss by key", "training", "", recipe(loss={"kind": "sparse_categorical_crossentropy", "amount": "mae"})),
]  # fmt: skip
ROWS = {"cnn": CNN, "rnn": RNN, "two": TWO, "decoder": DECODER, "keyed": KEYED}
FAULTS = [
    Fault(name, subject, check, layer, plant) for subject, rows in ROWS.items() for name, check, layer, plant in rows
]
