"""What is written of image models: what overwrites its operand, what pads, how sizes that are open are told."""

from __future__ import annotations

import re

import pytest
import torch
import torch.nn.functional as F

from converters.arrangement import Perm
from converters.errors import UserError
from converters.graph import Graph
from converters.local import padding
from migrate.emit.names import flat_names
from migrate.emit.selfcheck import check
from migrate.emit.written import Written, write
from parity_tests.case import case
from parity_tests.conftest import Bench
from parity_tests.test_blocks import flat_graph


def written(bench: Bench, model: str, *inputs: tuple[int | None, ...]) -> Written:
    return write(graph_of(bench, model, *inputs), "Net", "test")


def graph_of(bench: Bench, model: str, *inputs: tuple[int | None, ...]) -> Graph:
    return flat_graph(bench.saved(case(model, model, *inputs)))


READ_TWICE = "lambda x: (lambda y: Add()([ReLU()(y), y]))(BatchNormalization()(Conv2D(4, 3)(x)))"


def test_an_activation_overwrites_what_only_it_reads(bench: Bench) -> None:
    text = written(bench, "Conv2D(4, 3), BatchNormalization(), ReLU(), Flatten(), Dense(2)", (6, 6, 3)).text.text
    assert "F.relu(self.bn(self.conv(x)), inplace=True)" in text, text


@pytest.mark.parametrize(
    "model",
    [
        READ_TWICE,
        "ReLU(), Flatten(), Dense(2)",  # the caller's own tensor
        "Dropout(0.5), ReLU(), Flatten(), Dense(2)",  # in inference, a dropout hands on its input
    ],
)
def test_nothing_else_is_overwritten(bench: Bench, model: str) -> None:
    text = written(bench, model, (6, 6, 3)).text.text
    assert "F.relu(" in text and "inplace" not in text, text


def test_the_selfcheck_sees_what_is_overwritten_too_early(bench: Bench) -> None:
    done = written(bench, READ_TWICE, (6, 6, 3))
    names = flat_names(done.graph, done.graph, done.names)
    check(done.text.text, done.graph, names)
    assert "x + F.relu(x)" in done.text.text, done.text.text
    with pytest.raises(UserError, match="does not do what was converted"):
        check(done.text.text.replace("F.relu(x)", "F.relu(x, inplace=True)"), done.graph, names)


@pytest.mark.parametrize(("activation", "folded"), [("relu", True), ("tanh", False)])
def test_zeros_around_what_is_never_negative_are_padding(bench: Bench, activation: str, folded: bool) -> None:
    model = (
        f"Conv2D(4, 3, activation='{activation}'), ZeroPadding2D(1), MaxPooling2D(3, strides=2), Flatten(), Dense(2)"
    )
    text = written(bench, model, (8, 8, 3)).text.text
    assert ("3, stride=2, padding=1)" in text) is folded and ("F.pad(" in text) is not folded, text


def test_open_sizes_are_told_by_those_of_the_input(bench: Bench) -> None:
    model = "MaxPooling2D(2), Conv2D(5, 3, padding='same'), Conv2D(6, 3), GlobalAveragePooling2D(), Dense(2)"
    text = written(bench, model, (None, None, 3)).text.text
    assert "# (N, 5, H / 2, W / 2)" in text, text
    assert "H / 2 - 2" not in text and "(N, 6, H / 2, W / 2)" not in text, text


def blocks_of(depths: tuple[int, ...], name: str) -> str:
    """Convolutions and a pooling, several times; `name` of block b and layer i."""
    return (
        f"*[layer for b, d in enumerate({depths}) for layer in (*[Conv2D(4 + 4 * b, 3, padding='same', activation='relu'"
        f", {name.format('i')}) for i in range(d)], MaxPooling2D({name.format(9)}))], Flatten(), Dense(2)"
    )


NAMED = "name=f'block{{b}}_layer{{{}}}'"


def test_blocks_that_the_user_names_are_one_class_with_a_depth(bench: Bench) -> None:
    done = written(bench, blocks_of((2, 2, 3, 3, 3), NAMED), (32, 32, 3))
    assert not done.refused
    assert "ConvBlock(8, 12, depth=3)" in done.text.text, done.text.text
    assert "layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU()]" in done.text.text, done.text.text
    assert "            in_channels = out_channels\n        self.convs = nn.Sequential(*layers)" in done.text.text
    assert all(f"block2.convs.{place}.weight" in done.model.state_dict() for place in (0, 2, 4))


def test_the_width_that_another_layer_reads_too_is_kept_in_the_loop(bench: Bench) -> None:
    normed = f"*[layer for b, d in enumerate((2, 2, 3, 3, 3)) for layer in (BatchNormalization({NAMED.format(8)}), *["
    model = blocks_of((2, 2, 3, 3, 3), NAMED)
    model = model.replace(model[: model.index("[Conv2D")], normed[:-1])
    text = written(bench, model, (32, 32, 3)).text.text
    assert "        channels = in_channels\n        layers: list[nn.Module] = []\n" in text, text
    assert "            channels = out_channels\n" in text and "BatchNorm2d(in_channels" in text, text


def test_copies_that_differ_in_more_than_what_they_read_are_no_loop(bench: Bench) -> None:
    text = written(
        bench, blocks_of((2, 2, 3, 3, 3), NAMED).replace("3, padding", "3 + 2 * (not i), padding"), (32, 32, 3)
    )
    assert "range(depth - 1)" in text.text.text and "layers" not in text.text.text, text.text.text


@pytest.mark.parametrize(("depths", "name"), [((3, 3, 3, 3, 3), NAMED), ((2, 2, 3, 3, 3), "name=None and '{}'")])
def test_a_depth_is_given_where_names_and_numbers_ask_for_it(bench: Bench, depths: tuple[int, ...], name: str) -> None:
    assert "depth" not in written(bench, blocks_of(depths, name), (32, 32, 3)).text.text


HARD = "lambda x: (lambda y: Multiply()([y, ReLU(6.0)(y + {}) * {}]))(Conv2D(4, 3)(x))"


@pytest.mark.parametrize(
    ("added", "factor", "known"), [(3.0, "(1.0 / 6.0)", True), (2.0, "(1.0 / 6.0)", False), (3.0, "0.5", False)]
)
def test_a_hard_sigmoid_is_known(bench: Bench, added: float, factor: str, known: bool) -> None:
    text = written(bench, HARD.format(added, factor), (6, 6, 3)).text.text
    assert ("F.hardsigmoid" in text) is known and ("F.relu6" in text) is not known, text


SEPARABLE = (
    "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()(f(f(f(x, 8), 12), 16))))(lambda x, n: Add()(["
    "MaxPooling2D(3, strides=2, padding='same')(BatchNormalization()(SeparableConv2D(n, 3, padding='same')("
    "Activation('relu')(BatchNormalization()(SeparableConv2D(n, 3, padding='same')(x)))))), "
    "BatchNormalization()(Conv2D(n, 1, strides=2, padding='same')(x))]))"
)


def test_poolings_at_even_and_odd_sizes_are_written_for_all(bench: Bench) -> None:
    """Sizes 35, 18, 9: the second one is even."""
    done = written(bench, SEPARABLE, (35, 35, 4))
    text = done.text.text
    assert not done.refused
    assert "max_pool_same(" in text and "stride=2)" in text and "ceil_mode" not in text, text
    assert "self.shortcut(x)" in text and "-> (N, out_channels, ceil(H / 2), ceil(W / 2))." in text, text
    flat = graph_of(bench, SEPARABLE, (35, 35, 4))
    with pytest.raises(UserError, match=r"does not do what was converted|cannot be run"):
        check(text.replace("kernel - stride", "kernel - 1"), flat, flat_names(flat, done.graph, done.names))
    for size in (33, 32):  # 33, 17, 9 are all odd, 32, 16, 8 all even: what PyTorch has says it
        assert "max_pool_same" not in written(bench, SEPARABLE, (size, size, 4)).text.text


def test_a_pooling_that_may_be_valid_keeps_its_padding(bench: Bench) -> None:
    """Windows of 2 at a stride of 2: at an even size `same` and `valid` are one, so that a flag tells the odd size."""
    done = written(bench, SEPARABLE.replace("MaxPooling2D(3", "MaxPooling2D(2"), (34, 34, 4))  # 34, 17, 9
    assert not done.refused
    assert "def max_pool_same" not in done.text.text and "nn.MaxPool2d(2, ceil_mode=ceil_mode)" in done.text.text


@pytest.mark.parametrize(("pool", "short"), [("3, strides=2", True), ("2, strides=3", False), ("(3, 2)", False)])
def test_a_pooling_of_open_sizes_has_one_name(bench: Bench, pool: str, short: bool) -> None:
    text = written(bench, f"MaxPooling2D({pool}, padding='same'), Conv2D(2, 1)", (None, None, 3)).text.text
    assert ("max_pool_same(x, 3, stride=2)" in text) is short and ("pad_same(x, (" in text) is not short, text


def test_a_layer_stays_with_its_activation_on_one_line(bench: Bench) -> None:
    """What is too deep is cut before the convolution, not behind its normalization."""
    unit = "Conv2D(4, 3, strides=2, padding='same', use_bias=False), BatchNormalization(), ReLU()"
    text = written(
        bench, f"Rescaling(1 / 127.5, -1.0), {unit}, GlobalAveragePooling2D(), Dense(2)", (None, None, 3)
    ).text.text
    assert "x = F.relu(self.bn(self.conv(pad_image(x, 3, 2))), inplace=True)" in text, text


ENDS = "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()({}(f(f(f(Conv2D(4, 3, name='Conv1')(x))))))))(lambda x: Add()([x, Conv2D(4, 3, padding='same')(Activation('relu')(BatchNormalization()(x)))]))"


@pytest.mark.parametrize(("last", "told"), [("Conv2D(9, 1, name='Conv_1')", True), ("Conv2D(9, 1, name='mix')", False)])
def test_names_that_say_the_kind_only_are_told_apart_by_place(bench: Bench, last: str, told: bool) -> None:
    text = written(bench, ENDS.format(last), (8, 8, 3)).text.text
    assert ("self.stem_conv(" in text and "self.head_conv(" in text) is told, text
    assert ("self.conv1(" in text and "self.mix(" in text) is not told, text


@pytest.mark.parametrize(
    ("between", "product"),
    [
        ("Flatten(), Dropout(0.5)", True),
        ("GlobalAveragePooling2D()", False),
        ("Flatten(), BatchNormalization()", False),
    ],
)
def test_what_was_flattened_is_told(bench: Bench, between: str, product: bool) -> None:
    text = written(bench, f"Conv2D(5, 3), {between}, Dense(2)", (6, 7, 3)).text.text
    assert ("nn.Linear(5 * 4 * 5, 2)" in text) is product, text


def test_zeros_stand_with_the_layer_that_reads_them(bench: Bench) -> None:
    units = "Conv2D(4, 3, strides=2, padding='same', use_bias=False), BatchNormalization(), ReLU(), Dropout(0.1)"
    text = written(bench, f"{units}, {units}, {units}, Flatten(), Dense(2)", (32, 32, 3)).text.text
    assert text.count("(F.pad(x, (0, 1, 0, 1)))") == 3 and "33" not in text, text
    twice = (
        "lambda x: (lambda p: Concatenate()([Conv2D(4, 3)(p), Conv2D(5, 3)(p)]))(ZeroPadding2D(((0, 1), (0, 1)))(x))"
    )
    assert "x = F.pad(x, (0, 1, 0, 1))" in written(bench, twice, (8, 8, 3)).text.text  # two read them


@pytest.mark.parametrize(("kernel", "stride", "short"), [(3, 2, True), (1, 2, False), ((3, 5), 2, False)])
def test_a_square_window_of_an_image_pads_in_the_short_way(
    bench: Bench, kernel: int | tuple[int, int], stride: int, short: bool
) -> None:
    model = f"Conv2D(4, {kernel}, strides={stride}, padding='same'), GlobalAveragePooling2D()"
    text = written(bench, model, (None, None, 3)).text.text
    assert ("def pad_image" in text) is short and ("def pad_same" in text) is not short, text


def test_the_short_way_pads_as_the_long_one_does() -> None:
    for kernel, stride in ((1, 1), (2, 2), (3, 2), (4, 3), (5, 2), (7, 4)):
        for height, width in ((1, 2), (5, 8), (9, 4), (12, 7)):
            x = torch.randn(1, 2, height, width)
            long = padding.pad_same(x, (kernel, kernel), (stride, stride))
            assert torch.equal(padding.pad_image(x, kernel, stride), long)
            below = padding.pad_same(-x.exp(), (kernel, kernel), (stride, stride), float("-inf"))
            assert torch.equal(padding.max_pool_same(-x.exp(), kernel, stride), F.max_pool2d(below, kernel, stride))


# Each of five convolutions in a sum with its input, where stride and width allow that; `K` is the kernel of layer i.
STRIDED = (
    "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()(f(f(f(f(f(x, 0), 1), 2), 3), 4))))(lambda x, i: (lambda y: "
    "Add()([x, y]) if y.shape == x.shape else y)(BatchNormalization()(Conv2D(8, 1, use_bias=False)(Activation('relu')("
    "BatchNormalization()(DepthwiseConv2D(K, strides=1 + i % 2, padding='same', use_bias=False)(Activation('relu')("
    "BatchNormalization()(Conv2D(48, 1, use_bias=False)(x))))))))))"
)


@pytest.mark.parametrize(
    ("kernel", "half", "more"), [("3", "1", "right only:"), ("(5 if i > 2 else 3)", "half", "by one more at the")]
)
def test_a_choice_that_makes_a_line_too_long_has_a_name(bench: Bench, kernel: str, half: str, more: str) -> None:
    done = written(bench, STRIDED.replace("K", kernel), (32, 32, 8))
    assert not done.refused
    text = done.text.text
    assert f"# At a stride, Keras pads an even size {'at the bottom and ' if half == '1' else ''}{more}" in text, text
    assert f"padding = {half} if stride == 1 else 0" in text and "padding=padding" in text, text
    assert ("half = kernel_size // 2" in text) is (half == "half"), text


def test_a_u_net_keeps_the_users_names(bench: Bench) -> None:
    """One without: see the golden."""
    block = "(lambda x, n, name: CONV(CONV(x, n, name + '_a'), n, name + '_b'))".replace(
        "CONV", "(lambda x, n, name: Conv2D(n, 3, padding='same', activation='relu', name=name)(x))"
    )
    model = (
        "lambda x: (lambda d: (lambda a: (lambda b: (lambda c: Conv2D(2, 1, name='mask')(d(Concatenate()([UpSampling2D()("
        "d(Concatenate()([UpSampling2D()(c), b]), 16, 'right_near')), a]), 8, 'right_far')))(d(MaxPooling2D()(b), 32, "
        f"'middle')))(d(MaxPooling2D()(a), 16, 'left_near')))(d(x, 8, 'left_far')))({block})"
    )
    text = written(bench, model, (16, 16, 3)).text.text
    assert "self.left_far = " in text and "self.middle = " in text, text
    assert "self.down" not in text and "self.bottleneck" not in text and "self.head" not in text, text
    assert "skip1 = self.left_far(x)" in text and "[F.interpolate(x, scale_factor=2), skip1]" in text, text


@pytest.mark.parametrize(("joined", "kept"), [("UpSampling2D()(MaxPooling2D(2)(y))", True), ("Conv2D(4, 1)(y)", False)])
def test_what_is_kept_for_a_join_is_called_so(bench: Bench, joined: str, kept: bool) -> None:
    model = f"lambda x: (lambda y: Conv2D(3, 1)(Concatenate()([{joined}, y])))(Conv2D(4, 3, padding='same')(x))"
    text = written(bench, model, (8, 8, 3)).text.text
    assert ("skip = self.conv1(x)" in text) is kept, text


@pytest.mark.parametrize(
    ("pool", "sliced"),
    [("AveragePooling2D(1, 2)", True), ("MaxPooling2D(1, 2)", False), ("AveragePooling2D(2, 2)", False)],
)
def test_an_average_of_one_pixel_is_a_slice(bench: Bench, pool: str, sliced: bool) -> None:
    text = written(bench, f"{pool}, Conv2D(4, 1), Flatten(), Dense(2)", (8, 8, 3)).text.text
    assert ("x[..., ::2, ::2]" in text) is sliced and ("pool2d(" in text) is not sliced, text


@pytest.mark.parametrize(("other", "folded"), [("Conv2D(4, 3)", True), ("MaxPooling2D(3, 1)", False)])
def test_zeros_that_only_convolutions_read_are_their_padding(bench: Bench, other: str, folded: bool) -> None:
    model = f"lambda x: (lambda y: Concatenate()([Conv2D(4, 3)(y), {other}(y)]))(ZeroPadding2D(1)(x))"
    text = written(bench, model, (8, 8, 3)).text.text
    assert (text.count("padding=1") == 2) is folded and ("F.pad(" in text) is not folded, text


def test_a_sum_with_itself_is_twice(bench: Bench) -> None:
    model = "lambda x: Dense(2)((lambda y: Add()([y, y]))(Dense(3, activation='tanh')(x)))"
    text = written(bench, model, (4,)).text.text
    assert "2 * " in text and " + " not in text, text


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        ("Rescaling(1 / 255)", "x / 255"),
        ("Rescaling(1 / 127.5, offset=-1)", "x / 127.5 - 1"),
        ("Rescaling(0.125)", "x * 0.125"),
        ("Rescaling(0.0123456789012345)", "x * 0.0123456789012345"),
        ("Rescaling(2.0, offset=0.5)", "x * 2 + 0.5"),
        ("Rescaling(1.2345678901234567e-310)", "x * 1.23456789012346e-310"),
        ("Rescaling(1.2345678901234567e300)", "x * 1.2345678901234567e300"),
    ],
)
def test_numbers_are_written_with_few_digits(bench: Bench, layer: str, text: str) -> None:
    done = written(bench, f"{layer}, Flatten(), Dense(2)", (4, 4, 3)).text.text
    assert f"self.fc(({text}).flatten(1))" in done, done


def test_whole_numbers_keep_the_dtype_of_integers(bench: Bench) -> None:
    text = written(bench, "lambda x: keras.ops.cast(x + 1, 'float32') * 2.0", ("int32", 4)).text.text
    assert "* 2" in text and "* 2.0" not in text, text


def test_numbers_along_one_axis_are_a_flat_list(bench: Bench) -> None:
    layer = "Normalization(mean=[1.5, 2.5, 3.5], variance=[4.0, 4.0, 9.0])"
    for shape, rest, text in (((4, 4, 3), "Conv2D(2, 1)", ".view(3, 1, 1))"), ((3,), "Dense(2)", ")")):
        done = written(bench, f"{layer}, {rest}, Flatten()", shape).text.text
        assert f"torch.tensor([1.5, 2.5, 3.5]){text}\n" in done, done


def test_the_selfcheck_sees_another_stride_of_a_pooling(bench: Bench) -> None:
    """One that is left open is the kernel's."""
    done = written(bench, "Conv2D(4, 3), MaxPooling2D(2), GlobalAveragePooling2D(), Dense(2)", (8, 8, 3))
    names = flat_names(done.graph, done.graph, done.names)
    check(done.text.text.replace("F.max_pool2d(self.conv(x), 2)", "nn.MaxPool2d(2)(self.conv(x))"), done.graph, names)
    for stride in (1, 3):
        wrong = done.text.text.replace("(self.conv(x), 2)", f"(self.conv(x), 2, stride={stride})")
        assert wrong != done.text.text
        with pytest.raises(UserError, match="does not do what was converted"):
            check(wrong, done.graph, names)


def test_steps_are_those_that_were_stated(bench: Bench) -> None:
    text = written(
        bench, "TimeDistributed(BatchNormalization()), TimeDistributed(LayerNormalization())", (None, 3)
    ).text.text
    assert "self.ln(self.bn(x.flatten(0, 1))).unflatten(0, (-1, x.shape[1]))" in text, text


# Five blocks, each the sum of its input and what is left of a convolution; `R` is the rate of block b.
DEEP = (
    "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()(f(f(f(f(f(x, 0), 1), 2), 3), 4))))(lambda x, b: (lambda y: "
    "Add()([x, Dropout(R, noise_shape=(None, 1, 1, 1))(y) if R else y]))(BatchNormalization()(Conv2D(8, 1)(Activation("
    "'relu')(BatchNormalization()(Conv2D(8, 3, padding='same')(x)))))))"
)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        ("0.3 * b / 5", "drop=0.3 * i / 5) for i in range(1, 5))"),
        ("0.3 * (b + 1) / 5", "drop=0.3 * i / 5) for i in range(1, 6))"),
        ("0.3 * b / 5 * (b != 2)", "drop=0.3 * i / 5) for i in range(3, 5))"),
        ("(0, 0.1, 0.2, 0.15, 0.3)[b]", "drop=0.15)"),
        ("0.3 * b / 5 + (1e-15 if b == 2 else 0)", "drop=0.12)"),  # other floats: no rule gives them
    ],
)
def test_a_rate_that_grows_with_the_depth_is_a_rule(bench: Bench, rate: str, text: str) -> None:
    done = written(bench, DEEP.replace("R", f"({rate})"), (8, 8, 8))
    assert not done.refused
    assert text in done.text.text, done.text.text


def test_a_rule_gives_the_very_floats_of_the_file(bench: Bench) -> None:
    done = written(bench, DEEP.replace("R", "(0.7 * b / 5)"), (8, 8, 8))
    rates = [part.p for part in done.model.modules() if type(part).__name__ == "StochasticDepth"]
    assert rates == [0.7 * b / 5 for b in range(1, 5)] and rates != [round(rate, 12) for rate in rates]


@pytest.mark.parametrize(
    ("after", "images"),
    [
        ("Conv2D(5, 3)", True),
        ("Dense(5)", False),  # wants the channels last, as the LayerNorm has them
        ("lambda y: Concatenate()([Conv2D(5, 1)(y), Dense(3)(y)])", False),  # one of two does
    ],
)
def test_a_layer_norm_between_convolutions_is_one_of_images(bench: Bench, after: str, images: bool) -> None:
    model = f"lambda x: Flatten()(({after})(LayerNormalization(epsilon=1e-6)(Conv2D(4, 3)(x))))"
    done = written(bench, model, (8, 8, 3))
    text = done.text.text
    assert ("LayerNorm2d(4, eps=1e-6)" in text) is images and ("nn.LayerNorm(4, eps=1e-6)" in text) is not images, text
    if images:
        tensors = graph_of(bench, model, (8, 8, 3)).tensors.items()
        assert [v.arrangement for k, v in tensors if k.name.startswith("layer_norm")] == [Perm((0, 3, 1, 2))]
        names = flat_names(done.graph, done.graph, done.names)
        with pytest.raises(UserError, match=r"does not do what was converted|cannot be run"):
            check(text.replace(".permute(0, 3, 1, 2)", ".permute(0, 3, 2, 1)"), done.graph, names)


NESTED = (
    "lambda x: Dense(2)(Flatten()(keras.Sequential([Conv2D(4, 3{}), BatchNormalization(){}], name='down_block_1')("
    "keras.Sequential([Conv2D(6, 3), BatchNormalization()], name='down_block_0')(x))))"
)


@pytest.mark.parametrize(
    ("option", "more", "short"),
    [("", "", True), (", activation='tanh'", "", False), ("", ", BatchNormalization(trainable=False)", False)],
)
def test_a_nested_model_of_a_few_layers_needs_no_class(bench: Bench, option: str, more: str, short: bool) -> None:
    done = written(bench, NESTED.format(option, more), (9, 9, 3))
    text = done.text.text
    assert not done.refused
    assert "self.down0 = nn.Sequential(nn.Conv2d(3, 6, 3), BatchNorm(6))" in text, text
    assert ("self.down1 = nn.Sequential(" in text) is short and (text.count("(nn.Module)") == 1) is short, text


@pytest.mark.parametrize(
    ("second", "short"), [("", True), ("Normalization(mean=[2.0, 2.5, 3.0], variance=[4.0, 4.0, 1.0]), ", False)]
)
def test_one_normalization_has_a_mean_and_a_std(bench: Bench, second: str, short: bool) -> None:
    first = "Normalization(mean=[1.5, 2.5, 3.5], variance=[4.0, 4.0, 9.0], name='start')"
    text = written(bench, f"{first}, {second}Flatten(), Dense(2)", (4, 4, 3)).text.text
    assert ("(x - self.mean) / self.std" in text) is short and ("self.start_std" in text) is not short, text


PERCEPTRON = (
    "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()(f(f(f(x, 0), 1), 2))))(lambda x, b: Add()([x, Dense(4, name"
    "=f'block{b}_NAME_2')(Dense(8, activation='relu', name=f'block{b}_NAME_1')(Conv2D(4, 3, padding='same', name=f'block{b}_first')(x)))]))"
)


@pytest.mark.parametrize(("name", "kept"), [("pointwise_conv", False), ("mix", True)])
def test_a_linear_layer_is_not_called_a_convolution(bench: Bench, name: str, kept: bool) -> None:
    text = written(bench, PERCEPTRON.replace("NAME", name), (8, 8, 4)).text.text
    assert ("self.fc1 = nn.Linear(" in text) is not kept and (f"self.{name}_1" in text) is kept, text


DROPPED = "lambda x: Dense(2)(Flatten()(Add()([x, Dropout(0.5, noise_shape=(None, 1, 1, 1))(Conv2D(3, 1)(x))]){}))"
ROWS = "Dropout(0.5, noise_shape=(None, 1))(Flatten()"


@pytest.mark.parametrize(("model", "one"), [(DROPPED, True), (DROPPED.replace("(Flatten()", f"({ROWS}"), False)])
def test_a_local_class_is_written_for_the_rank_that_it_has(bench: Bench, model: str, one: bool) -> None:
    text = written(bench, model.format("" if one else ")"), (4, 4, 3)).text.text
    assert text.count("StochasticDepth(0.5)") == (1 if one else 2)
    assert ("x.new_empty(x.shape[0], 1, 1, 1).bernoulli_" in text) is one, text
    assert ("x.new_empty(x.shape[0], *[1] * (x.ndim - 1)).bernoulli_" in text) is not one, text


@pytest.mark.parametrize(
    ("model", "shape", "told"),
    [
        ("Rescaling(1 / 255), Conv2D(4, 3), Flatten()", (8, 8, 3), True),
        ("Rescaling(1 / 127.5, offset=-1), Conv2D(4, 3), Flatten()", (8, 8, 3), True),
        ("Rescaling(1 / 127.5, offset=-1), Conv2D(4, 3), Flatten()", (None, None, 3), True),
        ("Rescaling(1 / 127.5), Conv2D(4, 3), Flatten()", (8, 8, 3), False),
        ("Rescaling(1 / 127.5, offset=-2), Conv2D(4, 3), Flatten()", (8, 8, 3), False),
        ("Rescaling(1 / 128), Conv2D(4, 3), Flatten()", (8, 8, 3), False),
        ("Rescaling(1 / 255), Conv2D(4, 3), Flatten()", (8, 8, 1), False),  # one channel: anything
        ("ZeroPadding2D(1), Rescaling(1 / 255), Conv2D(4, 3), Flatten()", (8, 8, 3), False),  # not at once
        ("Rescaling(1 / 255), Dense(4), Flatten()", (3, 8, 5), False),  # three rows
        ("lambda x: Add()([Rescaling(1 / 255)(x), x])", (8, 8, 3), False),
    ],
)
def test_the_range_of_images_is_told_where_it_is_certain(
    bench: Bench, model: str, shape: tuple[int | None, ...], told: bool
) -> None:
    model = model.replace("Flatten()", "GlobalAveragePooling2D()")
    text = written(bench, model, shape).text.text
    size = "8, 8" if shape[0] else "H, W"
    assert (f'"""Images (N, 3, {size}) in 0..255 -> (N, 4)."""' in text) is told and ("0..255" in text) is told, text


# Four residual blocks; `GATE` is the gate of an image y of n channels.
GATED = (
    "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()(f(f(f(f(x, 16), 16), 32), 32))))(lambda x, n: (lambda y: "
    "Add()([x if x.shape[-1] == n else Conv2D(n, 1)(x), Multiply()([y, GATE])]))(Conv2D(n, 3, padding='same')(x)))"
)
MEAN = "GlobalAveragePooling2D()(y)"
LAYERS = "Dense(n, activation='sigmoid')(Dense(n // 4, activation='relu')({}))"
CONVOLUTIONS = LAYERS.replace("'sigmoid'", "'sigmoid', kernel_size=1").replace("'relu'", "'relu', kernel_size=1")


@pytest.mark.parametrize(
    "gate",
    [
        LAYERS.format(f"Reshape((1, 1, n))({MEAN})"),
        LAYERS.format("GlobalAveragePooling2D(keepdims=True)(y)"),
        LAYERS.format(MEAN),
        f"Reshape((1, 1, n))({LAYERS.format(MEAN)})",
    ],
)
def test_a_gate_of_linear_layers_names_no_size(bench: Bench, gate: str) -> None:
    text = written(bench, GATED.replace("GATE", gate), (8, 8, 8)).text.text
    assert "self.fc1 = nn.Linear(channels, channels // 4)" in text, text
    assert "y = F.relu(self.fc1(x.mean(dim=(2, 3))))" in text, text
    assert "return x * self.fc2(y).sigmoid()[:, :, None, None]" in text, text
    assert "self.se = SqueezeExcite(out_channels)" in text and "class SqueezeExcite2" not in text, text


def test_a_gate_of_convolutions_keeps_the_axes(bench: Bench) -> None:
    gate = CONVOLUTIONS.replace("Dense", "Conv2D").format(f"Reshape((1, 1, n))({MEAN})")
    text = written(bench, GATED.replace("GATE", gate), (8, 8, 8)).text.text
    assert "self.conv1(x.mean(dim=(2, 3), keepdim=True))" in text and "None, None]" not in text, text


def test_the_selfcheck_sees_a_gate_along_another_axis(bench: Bench) -> None:
    done = written(bench, GATED.replace("GATE", LAYERS.format("GlobalAveragePooling2D(keepdims=True)(y)")), (8, 8, 8))
    names = flat_names(done.graph, done.graph, done.names)
    check(done.text.text, done.graph, names)
    wrong = done.text.text.replace("[:, :, None, None]", "[:, None, None, :]")
    assert wrong != done.text.text
    with pytest.raises(UserError, match=r"does not do what was converted|cannot be run"):
        check(wrong, done.graph, names)


def test_a_block_never_chooses_between_two_blocks(bench: Bench) -> None:
    """Gates of two kinds, one after the other: blocks of two kinds."""
    layers = LAYERS.format(MEAN)
    gate = f"(({layers}) if x.shape[-1] == n else ({layers.replace('sigmoid', 'tanh')}))"
    model = GATED.replace("GATE", gate).replace("32), 32)", "32), 32), 64), 64)").replace("f(f(f(f(", "f(f(f(f(f(f(")
    text = written(bench, model, (8, 8, 8)).text.text
    assert "class SqueezeExcite2" in text and "SqueezeExcite" in text, text
    assert not re.search(r"SqueezeExcite2?\(.*\) if ", text), text


def test_a_sum_that_one_block_has_says_nothing_of_the_width_of_all(bench: Bench) -> None:
    block = "Multiply()([y, GATE])".replace("GATE", LAYERS.format(MEAN))
    model = (
        "lambda x: (lambda f: Dense(2)(GlobalAveragePooling2D()(f(f(f(f(x, 16), 16), 24), 32))))(lambda x, n: (lambda y:"
        f" Add()([x, {block}]) if x.shape[-1] == n else {block})(ReLU()(Conv2D(n, 3, padding='same')(x))))"
    )
    text = written(bench, model, (8, 8, 3)).text.text
    assert "self.residual = in_channels == out_channels" in text, text
    assert '"""(N, in_channels, H, W) -> (N, out_channels, H, W)."""' in text, text


GATED_SKIPS = (
    "lambda x: (lambda conv, gate: (lambda a: (lambda b: (lambda c: (lambda g: (lambda h: Conv2D(1, 1)(conv("
    "Concatenate()([gate(a, h, 2), h]), 4)))(Conv2DTranspose(4, 2, 2)(conv(Concatenate()([gate(b, g, 4), g]), 8))))"
    "(Conv2DTranspose(8, 2, 2)(c)))(conv(MaxPooling2D()(b), 16)))(conv(MaxPooling2D()(a), 8)))(conv(x, 4)))"
    "(lambda x, n: ReLU()(BatchNormalization()(Conv2D(n, 3, padding='same')(x))), lambda x, g, n: "
    "Multiply()([{}, Conv2D(1, 1, activation='sigmoid')(ReLU()(Add()([Conv2D(n, 1)(x), Conv2D(n, 1)(g)])))]))"
)


@pytest.mark.parametrize(("factor", "is_gate"), [("x", True), ("Activation('tanh')(x)", False)])
def test_the_gates_of_a_u_net_are_a_class(bench: Bench, factor: str, is_gate: bool) -> None:
    """A product with something else than what the gate reads is none."""
    done = written(bench, GATED_SKIPS.format(factor), (8, 8, 2))
    text = done.text.text
    assert not done.refused
    assert ("class AttentionGate(nn.Module):" in text) is is_gate, text
    assert ("def forward(self, x: Tensor, gating: Tensor) -> Tensor:" in text) is is_gate, text
    if is_gate:
        assert "skip1 = F.relu(" in text and "skip2 = F.relu(" in text and "self.up1" not in text, text
        assert "x = torch.cat([self.gate1(skip2, x), x], dim=1)" in text and "self.gate2(skip1, x)" in text, text


def test_a_gate_that_reads_the_wrong_tensor_is_seen(bench: Bench) -> None:
    model = GATED_SKIPS.format("x")
    flat = graph_of(bench, model, (8, 8, 2))
    done = write(flat, "Net", "test")
    wrong = done.text.text.replace("self.conv2(gating)", "self.conv2(x)")
    assert wrong != done.text.text
    with pytest.raises(UserError, match="does not do what was converted"):
        check(wrong, flat, flat_names(flat, done.graph, done.names))


@pytest.mark.parametrize(("name", "called"), [("", "gated"), ("name='filtered'", "filtered")])
def test_a_value_is_called_by_what_it_is_or_as_the_user_says(bench: Bench, name: str, called: str) -> None:
    """No variable is called after the number that Keras gave a layer."""
    model = (
        "lambda x: (lambda a: (lambda b: (lambda c: Add()([a, b, c, Conv1D(4, 1)(c)]))(Multiply(NAME)([Activation('tanh')("
        "Conv1D(4, 1)(b)), Activation('sigmoid')(Conv1D(4, 1)(b))])))(Conv1D(4, 1)(a)))(Conv1D(4, 1)(x))"
    ).replace("NAME", name)
    text = written(bench, model, (5, 4)).text.text
    assert f"        {called} = " in text and "multiply" not in text, text
