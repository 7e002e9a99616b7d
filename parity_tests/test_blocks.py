"""Blocks: what is found in known architectures, what is refused, and that a wrong block is seen."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from converters.errors import UserError
from converters.graph import Call, Graph
from migrate.blocks import canonical, with_blocks
from migrate.blocks.pattern import Member, Tokens, exact
from migrate.emit.names import assign_names, flat_names
from migrate.emit.selfcheck import check
from migrate.emit.source import source_of
from migrate.emit.written import Written, write
from migrate.lower import lower
from migrate.readers import read
from migrate.simplify import simplify
from parity_tests.case import case
from parity_tests.conftest import Bench
from parity_tests.goldens.models import APPLICATIONS, MODELS
from parity_tests.test_applications import application

LINES = {"ResNet50": 80, "MobileNetV2": 90}


def flat_graph(path: Path) -> Graph:
    """The lowered graph of a saved model, in canonical order."""
    with read(path) as source:
        return canonical(simplify(lower(source.graph).graph))


@pytest.fixture(scope="module", params=LINES)
def written(request: pytest.FixtureRequest, bench: Bench) -> tuple[str, Written]:
    return request.param, write(flat_graph(bench.saved(application(request.param))), "Net", "test")


def test_the_text_is_short_and_the_first_choice(written: tuple[str, Written]) -> None:
    name, done = written
    assert not done.refused
    assert len(done.text.text.splitlines()) <= LINES[name], done.text.text


RESIDUAL = case(
    "residual",
    "lambda x: (lambda f: f(f(f(f(f(x, 8), 8), 16), 16), 32))(lambda x, n: Add()([x if x.shape[-1] == n else "
    "Conv2D(n, 1)(x), BatchNormalization()(Conv2D(n, 3, padding='same')(Activation('relu')(BatchNormalization()("
    "Conv2D(n, 3, padding='same', use_bias=False)(x)))))]))",
    (8, 8, 8),
)


@pytest.fixture(scope="module")
def residual(bench: Bench) -> Graph:
    return flat_graph(bench.saved(RESIDUAL))


def test_a_shortcut_becomes_a_condition(residual: Graph) -> None:
    done = write(residual, "Net", "test")
    assert not done.refused
    assert "if in_channels != out_channels" in done.text.text, done.text.text


def test_the_same_graph_gives_the_same_text(residual: Graph) -> None:
    assert write(residual, "Net", "test").text.text == write(residual, "Net", "test").text.text


def test_flat_has_one_attribute_a_layer(residual: Graph) -> None:
    text = write(residual, "Net", "test", blocks=False).text.text
    assert text.count("class ") == 1
    assert text.count("nn.Conv2d(") == 12


@pytest.mark.parametrize(
    "damage",
    [
        ("in_channels != out_channels", "in_channels == out_channels"),
        ("F.relu(", "F.silu("),
        ("padding=1", "padding=2"),
    ],
)
def test_a_wrong_block_is_seen(residual: Graph, damage: tuple[str, str]) -> None:
    form = with_blocks(residual)
    names = assign_names(form, "Net")
    text = source_of(form, names, "test").text
    assert damage[0] in text, text
    check(text, residual, flat_names(residual, form, names))
    with pytest.raises(UserError, match=r"emitted source|of the weights"):
        check(text.replace(*damage), residual, flat_names(residual, form, names))


def test_data_that_flows_in_another_way_is_refused(residual: Graph) -> None:
    calls = [call for call in residual.nodes if isinstance(call, Call)]
    adds = [i for i, call in enumerate(calls) if call.target == "+"]
    one, other = (
        Member(tuple(calls[: adds[0] + 1]), calls[adds[0]].outputs),
        Member(tuple(calls[adds[0] + 1 : adds[1] + 1]), calls[adds[1]].outputs),
    )
    tokens = Tokens(residual.modules)
    assert exact([one, other], tokens.modules).flow is not None
    crossed = replace(other.calls[-1], args=(other.calls[-1].args[1], other.calls[-1].args[1]))
    assert exact([one, Member((*other.calls[:-1], crossed), other.output)], tokens.modules).flow is None


SMALL_RESNET = case(
    "small resnet",
    "lambda x: (lambda unit: (lambda f: Dense(3)(Flatten()(f(f(f(f(unit(x, 8, 1, True), 8, 1), 8, 1), 16, 2), 16, 1))))(lambda x, n, s: "
    "Activation('relu')(Add()([unit(unit(x, n, s, True), n, 1, False), x if s == 1 else "
    "BatchNormalization()(Conv2D(n, 1, strides=s, use_bias=False)(x))]))))(lambda x, n, s, last: (lambda y: "
    "Activation('relu')(y) if last else y)(BatchNormalization()(Conv2D(n, 3, strides=s, padding='same', use_bias=False)(x))))",
    (8, 8, 3),
    options={"batches": [1]},
)


def test_one_projection_among_identities(bench: Bench) -> None:
    """A short network is written with blocks even where that takes a line more; the stride decides about padding."""
    text = write(flat_graph(bench.saved(SMALL_RESNET)), "Net", "test").text.text
    assert "self.stage2 = nn.Sequential(ResidualBlock(8, 16, stride=2), ResidualBlock(16, 16))" in text, text
    assert "self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if stride != 1 else nn.Identity()" in text, text
    assert "# At a stride, Keras pads an even size at the bottom and right only" in text, text
    assert "3, stride=stride, padding=1 if stride == 1 else 0, bias=False)" in text, text
    assert "return F.relu(self.shortcut(x) + self.bn2(self.conv2(y)), inplace=True)" in text, text


# (out, hidden, kernel, stride, squeeze, activation) of each block, as in MobileNetV3.
ROWS = (
    (16, 16, 3, 2, 8, "relu"), (24, 64, 3, 2, 0, "relu"), (24, 72, 3, 1, 0, "relu"), (40, 96, 5, 2, 24, "silu"),
    (40, 120, 5, 1, 32, "silu"), (40, 128, 5, 1, 32, "silu"), (48, 144, 5, 1, 40, "silu"), (48, 160, 5, 1, 40, "silu"),
)  # fmt: skip
SQUEEZE = (
    "(lambda y, s: Multiply()([y, Activation('sigmoid')(Conv2D(y.shape[-1], 1)(Activation('relu')(Conv2D(s, 1)("
    "GlobalAveragePooling2D(keepdims=True)(y)))))]) if s else y)"
)
INVERTED = (
    "(lambda x, row: (lambda n, h, k, stride, s, a: (lambda norm: (lambda y: Add()([x, y]) if stride == 1 and n == "
    "x.shape[-1] else y)(norm(Conv2D(n, 1, use_bias=False)(SE(Activation(a)(norm(DepthwiseConv2D(k, strides=stride, "
    "padding='same', use_bias=False)(Activation(a)(norm(Conv2D(h, 1, use_bias=False)(x))) if h != x.shape[-1] else x"
    "))), s)))))(lambda y: BatchNormalization()(y)))(*row))"
).replace("SE(", f"{SQUEEZE}(")


def inverted(rows: tuple[tuple[object, ...], ...]) -> str:
    body = "x"
    for row in rows:
        body = f"{INVERTED}({body}, {row})"
    return f"lambda x: Softmax()(Flatten()(Conv2D(7, 1, name='logits')(GlobalAveragePooling2D(keepdims=True)({body}))))"


def test_what_is_optional_and_what_varies_are_parameters_of_one_class(bench: Bench) -> None:
    """A width of 0 says that a part is not there, a hidden width that is none that nothing widens."""
    text = text_of(bench, inverted(ROWS), (32, 32, 16))
    assert text.count("(nn.Module)") == 3 and text.count("= InvertedResidual(") + text.count(" InvertedResidual(") >= 8
    assert "kernel_size: int,\n        stride: int = 1,\n        squeeze_channels: int = 0,\n" in text, text
    assert "activation: type[nn.Module] = nn.SiLU," in text and "self.act = activation(inplace=True)" in text, text
    assert "if hidden_channels != in_channels:" in text, text
    assert "self.se = SqueezeExcite(hidden_channels, squeeze_channels) if squeeze_channels else nn.Identity()" in text
    assert "self.residual = stride == 1 and in_channels == out_channels" in text, text
    assert "16, 16, 16, kernel_size=3, stride=2, squeeze_channels=8, activation=nn.ReLU" in text, text


def test_a_convolution_that_classifies_has_a_number_of_classes(bench: Bench) -> None:
    """The name `logits` is that of the method."""
    text = text_of(bench, inverted(ROWS), (32, 32, 16))
    assert "def __init__(self, num_classes: int = 7)" in text and ", num_classes, 1)" in text, text
    assert "return self.classifier(x).flatten(1)" in text and "logits_layer" not in text, text


def test_two_activations_in_one_place_may_overwrite(bench: Bench) -> None:
    """The wrong one is seen."""
    model = inverted(tuple((*row[:5], ("relu", "silu")[n % 2]) for n, row in enumerate(ROWS)))
    flat = flat_graph(bench.saved(case(model, model, (32, 32, 16))))
    done = write(flat, "Net", "test")
    assert not done.refused and "activation=nn.SiLU)" in done.text.text, done.text.text
    with pytest.raises(UserError, match="does not do what was converted"):
        check(
            done.text.text.replace("activation=nn.SiLU)", "activation=nn.ReLU6)"),
            flat,
            flat_names(flat, done.graph, done.names),
        )


UNIT = "(lambda x, n, k: Activation('relu')(BatchNormalization()(Conv2D(n, k, padding='same', use_bias=False)(x))))"
POOL = "AveragePooling2D(3, strides=1, padding='same')(x)"
FOUR = f"Concatenate()([{UNIT}(x, 4, 1), {UNIT}({UNIT}(x, 4, 1), 6, 3), {UNIT}({POOL}, 4, 1)])"
OTHER = f"Concatenate()([{UNIT}({UNIT}(x, 2, 1), 4, 5), {UNIT}({UNIT}({UNIT}(x, 4, 1), 6, 3), 8, 3), MaxPooling2D(3, 1, 'same')(x)])"
# Of the second branch, the third is a part: neither is a chain of its own.
KNOTTED = f"(lambda y: Concatenate()([{UNIT}(x, 4, 1), {UNIT}(y, 4, 3), y]))({UNIT}(x, 6, 1))"


def branching(*blocks: str) -> str:
    body = "x"
    for block in blocks:
        body = f"(lambda x: {block})({body})"
    return f"lambda x: Dense(3)(GlobalAveragePooling2D()({body}))"


def text_of(bench: Bench, model: str, *inputs: tuple[int, ...]) -> str:
    done = write(flat_graph(bench.saved(case(model, model, *inputs))), "Net", "test")
    assert not done.refused
    return done.text.text


def test_branches_are_named_by_their_place(bench: Bench) -> None:
    text = text_of(bench, branching(FOUR, FOUR, FOUR), (8, 8, 14))
    assert "torch.cat([self.branch1(x), self.branch2(x), self.branch3(x)], dim=1)" in text, text
    assert "self.branch2 = nn.Sequential(ConvBNReLU(14, 4), ConvBNReLU(4, 6, 3))" in text, text
    assert "nn.Sequential(nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False), ConvBNReLU(14, 4))" in text


def test_what_two_branches_read_is_neither(bench: Bench) -> None:
    text = text_of(bench, branching(KNOTTED, KNOTTED, KNOTTED), (8, 8, 14))
    assert "nn.Sequential(ConvBNReLU" not in text and "torch.cat([self.branch1(x), self.branch2(y), y]" in text, text


def test_what_stands_alone_among_blocks_is_a_class(bench: Bench) -> None:
    text = text_of(bench, branching(FOUR, FOUR, FOUR, OTHER), (8, 8, 14))
    assert "class InceptionB(nn.Module):" in text and "self.block = InceptionB(14)" in text, text
    assert text.count("torch.cat(") == 2, text


def test_what_stands_alone_among_other_blocks_is_none(bench: Bench) -> None:
    residual = f"Add()([x, {UNIT}({UNIT}(x, 14, 3), 14, 3)])"
    text = text_of(bench, branching(residual, residual, residual, OTHER), (8, 8, 14))
    assert "Inception" not in text and "Reduction" not in text, text


CONV = "(lambda x, n, k: BatchNormalization()(Conv2D(n, k, padding='same', use_bias=False)(x)))"
SUM = f"(lambda a, b: Add()([{CONV}(a, 4, 3), {CONV}(b, 4, 5)]))"
GRIDS = (
    "Concatenate()([Conv2D(2, 1, use_bias=False)(AveragePooling2D(1, 2)(p)), Conv2D(2, 1, use_bias=False)("
    "AveragePooling2D(1, 2)(Cropping2D(((1, 0), (1, 0)))(ZeroPadding2D(((0, 1), (0, 1)))(p))))])"
)


def cell(x: str, p: str, reduce: bool) -> str:
    adjusted = f"(lambda p: BatchNormalization()({GRIDS}))({p})" if reduce else f"{CONV}({p}, 4, 1)"
    inner = (
        f"Activation('relu')(Concatenate()([p, {SUM}(h, p), {SUM}(p, p), {SUM}(h, h), Add()([h, {CONV}(h, 4, 3)])]))"
    )
    return f"(lambda h, p: {inner})({CONV}({x}, 4, 1), {adjusted})"


def cells(halvings: int, count: int) -> str:
    """After each halving cells that read the two before them: the first of them finds what is older at twice the size."""
    steps = "".join(
        "v.append(MaxPooling2D()(v[-1])) or "
        + "".join(f"v.append({cell('v[-1]', f'v[-{2 + (n == 0)}]', n == 0)}) or " for n in range(count))
        for _ in range(halvings)
    )
    return f"lambda x: (lambda v: {steps} Dense(3)(GlobalAveragePooling2D()(v[-1])))([x, Conv2D(20, 1)(Conv2D(5, 1)(Conv2D(5, 3, padding='same')(x)))])"


def test_cells_read_the_two_before_them(bench: Bench) -> None:
    """All of them are one class, the last one too, which nobody reads but the end of the model."""
    text = text_of(bench, cells(2, 3), (8, 8, 20))
    assert "def forward(self, x: Tensor, previous: Tensor) -> Tensor:" in text, text
    assert "x, previous = self.cell2(x, y), x" in text and "x = self.cell6(x, previous)" in text, text
    assert text.count("= Cell(") == 6, text
    assert "FactorizedReduction(" in text and "if reduce_previous" in text and text.count("reduce_previous=True") == 2
    assert "self.conv1(x[..., ::2, ::2])" in text, text


# A chain, what is put at its end, and the lines of the first text that may change: the last, where it returned.
GROWING = {
    "a chain": ("Dense(8, activation='relu'), Dense(4)", "Dense(3)", 1),
    "a stack of recurrent layers": (
        "Embedding(9, 4), LSTM(4, return_sequences=True), LSTM(4)",
        "Dropout(0.5), Dense(2)",
        1,
    ),
    "blocks": ("*[layer for _ in range(12) for layer in (Dense(8, activation='relu'), Dropout(0.1))]", "Dense(2)", 1),
    "a second one of its kind": ("Conv2D(4, 3), Flatten(), Dense(4)", "Dense(3)", 2),  # `fc` becomes `fc1`
}


@pytest.mark.parametrize("name", GROWING)
def test_a_layer_at_the_end_leaves_the_text_above(bench: Bench, name: str) -> None:
    layers, added, changed = GROWING[name]
    inputs = ("int32", 5) if "Embedding" in layers else (6, 6, 2) if "Conv" in layers else (8,)
    models = (layers, f"{layers}, {added}")
    before, after = (
        write(flat_graph(bench.saved(case(name, model, inputs))), "Net", "").text.text.splitlines() for model in models
    )
    lost = [line for line in before if line not in after and "->" not in line]
    assert len(lost) <= changed, "\n".join(["lost:", *lost, "now:", *after])


def test_detection_is_fast(bench: Bench) -> None:
    """2,000 layers in less than 10 seconds."""
    model = (
        "lambda x: (lambda f: __import__('functools').reduce(lambda y, _: f(y), range(330), x))(lambda x: "
        "Add()([x, Dense(4)(Activation('relu')(Dense(4)(LayerNormalization()(x))))]))"
    )
    graph = flat_graph(bench.saved(case("2000 layers", model, (4,))))
    start = time.perf_counter()
    form = with_blocks(graph)
    assert len(form.nodes) < 10
    assert time.perf_counter() - start < 10


def test_the_goldens_have_cases() -> None:
    stored = {path.stem for path in (Path(__file__).parent / "goldens").glob("*.txt")}
    assert stored == {*MODELS, *APPLICATIONS}


TWO = "lambda a, b: (lambda t: {})(Dense(4))"


@pytest.mark.parametrize(
    ("joined", "said"),
    [
        ("Dense(2)(Subtract()([t(a), t(b)]))", "difference = self.fc1(x1) - self.fc1(x2)"),
        ("Dense(2)(ops.abs(t(a) - t(b)))", "difference = (self.fc1(x1) - self.fc1(x2)).abs()"),
        ("Dense(2)(Subtract()([t(a), Dense(4)(b)]))", "x = self.fc1(x1) - self.fc2(x2)"),
        ("[Dense(3, name='kind')(t(a)), Dense(1, name='age')(t(b))]", "-> kind (N, 3), age (N, 1)."),
        ("[Dense(3, name='kind')(t(a)), Dense(1)(t(b))]", "-> (N, 3), (N, 1)."),
    ],
)
def test_what_two_towers_give_is_named(bench: Bench, joined: str, said: str) -> None:
    text = text_of(bench, TWO.format(joined), (6,), (6,))
    assert said in text, text


LAYER = (
    "(lambda x: (lambda y: LayerNormalization()(Add()([y, Dense(16)(Dense(32, activation='gelu')(y))])))"
    "(LayerNormalization()(Add()([x, {}]))))"
)


@pytest.mark.parametrize(
    ("part", "steps"),
    [("MultiHeadAttention(2, 8)(x, x)", "T"), ("Permute((2, 1))(Dense(7)(Permute((2, 1))(x)))", "7")],
    ids=["attention", "weights for seven steps"],
)
def test_a_block_of_steps_tells_whether_it_takes_any_number(bench: Bench, part: str, steps: str) -> None:
    block = LAYER.format(part)
    text = text_of(
        bench, f"lambda x: Dense(3)(GlobalAveragePooling1D()({block}({block}({block}(Dense(16)(x))))))", (7, 12)
    )
    assert f'"""(N, {steps}, 16) -> (N, {steps}, 16)."""' in text, text
    assert "self.embed = nn.Linear(12, 16)" in text and "self.head = nn.Linear(16, 3)" in text, text


HALVED = "(lambda x, n: Activation('relu')(BatchNormalization()(Conv2D(n, 2, strides=2, use_bias=False)(x))))"
POOLED = "MaxPooling2D(3, 2)(x)"


@pytest.mark.parametrize(
    ("branches", "made"),
    [
        (f"{UNIT}(AveragePooling2D(3, 2)(x), 4, 1), {POOLED}, {UNIT}({UNIT}({POOLED}, 6, 1), 8, 3)", "in_channels + 12, (H - 1) // 2, (W - 1) // 2"),
        (f"{UNIT}(AveragePooling2D(2)(x), 4, 1), {UNIT}(MaxPooling2D(2)(x), 6, 1), {UNIT}({HALVED}(x, 6), 8, 3)", "18, H / 2, W / 2"),
    ],
)  # fmt: skip
def test_what_comes_out_of_a_block_that_stands_alone(bench: Bench, branches: str, made: str) -> None:
    """Its width grows with what it passes on; windows without padding lose the rim."""
    text = text_of(bench, branching(FOUR, FOUR, FOUR, f"Concatenate()([{branches}])"), (9, 9, 14))
    assert f"(N, in_channels, H, W) -> (N, {made})." in text, text


NORMED = "Activation('relu')(BatchNormalization()({}))"
WIDE = NORMED.format(f"Conv2D(16, 1, use_bias=False)({NORMED.format('x')})")
DENSE_LAYER = f"Concatenate()([x, Conv2D(4, 3, padding='same', use_bias=False)({WIDE})])"
NARROWER = "(lambda x, n: AveragePooling2D(2)(Conv2D(n, 1, use_bias=False)(Activation('relu')(BatchNormalization()(x)))))(x, {})"


@pytest.mark.parametrize(("second", "found"), [("10", True), ("None", False)])
def test_what_stands_between_blocks_each_time_is_a_class(bench: Bench, second: str, found: bool) -> None:
    """Where it is there once only, it is none."""
    between = [NARROWER.format(6), NARROWER.format(second) if found else "MaxPooling2D()(x)"]
    model = branching(*(part for one in [*between, ""] for part in (*[DENSE_LAYER] * 6, one) if part))
    text = text_of(bench, model, (16, 16, 8))
    assert ("class Transition(nn.Module):" in text) is found and ("= Transition(32, 6)" in text) is found, text
    assert "DenseLayer(" in text and text.count("avg_pool2d") == 1, text


TEMPORAL = (
    "lambda x: (lambda f: Dense(1)(__import__('functools').reduce(f, {dilations}, x)[:, -1]))(lambda x, d: (lambda c: "
    "Activation('relu')(Add()([x if x.shape[-1] == 8 else Conv1D(8, 1)(x), c(c(x))])))(lambda y: "
    "{drop}(0.1)({norm}(Conv1D(8, {kernel}, dilation_rate=d, padding='{padding}', activation='relu')(y)))))"
)
LISTED = "TemporalBlock(4, 8), *(TemporalBlock(8, 8, dilation=dilation) for dilation in (2, 4, 8))"


def temporal(
    dilations: str = "(1, 2, 4, 8)", kernel: int = 3, padding: str = "causal", norm: str = "", drop: str = "Dropout"
) -> str:
    return TEMPORAL.format(dilations=dilations, kernel=kernel, padding=padding, norm=norm, drop=drop)


@pytest.mark.parametrize(
    ("model", "steps", "said"),
    [
        (temporal(), 9, ("nn.ZeroPad1d((2 * dilation, 0))", LISTED, '"""(N, in_channels, T) -> (N, out_channels, T).')),
        (temporal(kernel=2), None, ("nn.ZeroPad1d((dilation, 0))", LISTED, "out_channels, 2, dilation=dilation)")),
        (temporal(padding="same"), 9, ("3, padding=dilation, dilation=dilation)", LISTED)),
        (temporal(norm="BatchNormalization()"), 9, (LISTED, "self.bn2 = BatchNorm(out_channels)")),
        (temporal(norm="LayerNormalization()"), 9, (LISTED, "self.ln2 = LayerNorm(out_channels)")),
        (temporal("(1, 2, 4)", drop="SpatialDropout1D"), 9, ("nn.Dropout1d(0.1)", "TemporalBlock(8, 8, dilation=4)")),
        (
            f"lambda x: ({temporal('2 * (1, 2, 4, 8, 16)')})(Conv1D(8, 1)(x))",
            9,
            ("nn.Sequential(*(TemporalBlock(dilation=dilation) for _ in range(2) for dilation in (1, 2, 4, 8, 16)))",),
        ),
        (temporal("(1, 1, 1, 1)"), 9, ("F.pad(x, (2, 0))", "class ResidualBlock", "for _ in range(3)")),
    ],
    ids=["causal", "kernel of 2", "same", "bn", "ln", "three", "twice", "not dilated"],
)  # fmt: skip
def test_temporal_blocks_differ_in_their_dilation(
    bench: Bench, model: str, steps: int | None, said: tuple[str, ...]
) -> None:
    """One padding before both convolutions, by a formula; where nothing is dilated, an ordinary block."""
    text = text_of(bench, model, (steps, 4))
    squeezed = " ".join(text.split()).replace("( ", "(").replace(" )", ")").replace(",)", ")")
    assert all(part in squeezed for part in said), text
    assert text.count("self.pad = ") == ("nn.ZeroPad1d" in text) and "extended" not in text, text


def test_a_padding_that_is_no_multiple_of_the_dilation_is_seen(bench: Bench) -> None:
    flat = flat_graph(bench.saved(case("temporal", temporal(), (9, 4))))
    done = write(flat, "Net", "test")
    with pytest.raises(UserError, match=r"does not do what was converted|cannot be run"):
        check(
            done.text.text.replace("(2 * dilation, 0)", "(dilation + 2, 0)"),
            flat,
            flat_names(flat, done.graph, done.names),
        )
