"""Convolutions. `same` with every parity of kernel, stride, dilation and size; both sides of every rule."""

from parity_tests.case import case

SAME = [
    case(f"conv2d same k{k} s{s} n{n}", f"Conv2D(3, {k}, strides={s}, padding='same')", (n, n + 1, 2), permutes=0)
    for k in (1, 2, 3, 5, 7)
    for s in (1, 2, 3)
    for n in (8, 9)
]

CASES = [
    *SAME,
    *(case(f"conv2d same dilation 2 k{k}", f"Conv2D(3, {k}, dilation_rate=2, padding='same')", (9, 8, 2)) for k in (2, 3, 5)),
    case("conv1d valid", "Conv1D(4, 3)", (9, 2)),
    case("conv1d causal dilation", "Conv1D(4, 3, padding='causal', dilation_rate=2, activation='relu')", (9, 2)),
    case("conv1d same stride", "Conv1D(4, 4, strides=2, padding='same')", (9, 2)),
    case("conv1d dynamic steps", "Conv1D(4, 3, padding='same')", (None, 2)),
    case("conv2d groups", "Conv2D(6, 3, groups=2)", (6, 6, 4)),
    case("conv2d kernel of two sizes", "Conv2D(4, (2, 3), strides=(2, 1), padding='same', activation='elu')", (7, 8, 3)),
    case("conv2d softmax over channels", "Conv2D(4, 3, activation='softmax')", (6, 6, 3)),
    case("conv2d channels first", "Conv2D(4, 3, data_format='channels_first')", (3, 6, 7)),
    case("conv2d dynamic size", "Conv2D(4, 3, strides=2, padding='same')", (None, None, 3)),
    case("conv3d", "Conv3D(4, (2, 3, 2), strides=(1, 2, 2), padding='same')", (5, 6, 7, 2)),
    case("shared conv at two sizes", "lambda x, y: (lambda c: [c(x), c(y)])(Conv2D(3, 3, strides=2, padding='same'))", (8, 8, 2), (9, 7, 2)),
    case("depthwise", "DepthwiseConv2D(3, depth_multiplier=2, padding='same')", (6, 7, 3)),
    case("depthwise stride dilation", "DepthwiseConv2D(3, strides=2, padding='same', use_bias=False)", (9, 9, 3)),
    case("depthwise 1d", "DepthwiseConv1D(3, strides=2, depth_multiplier=2, padding='same')", (9, 3)),
    case("separable 2d", "SeparableConv2D(5, 3, strides=2, padding='same', depth_multiplier=2, activation='relu')", (8, 9, 3)),
    case("separable 1d", "SeparableConv1D(5, 4, padding='same')", (8, 3)),
    *(
        case(f"conv transpose {p} k{k} s{s}", f"Conv2DTranspose(3, {k}, strides={s}, padding='{p}')", (5, 6, 2))
        for k in (1, 2, 3, 4, 5)
        for s in (1, 2, 3)
        for p in ("valid", "same")
    ),
    case("conv transpose output padding", "Conv2DTranspose(3, 3, strides=2, padding='same', output_padding=1)", (5, 6, 2)),
    case("conv transpose valid output padding", "Conv2DTranspose(3, 3, strides=3, output_padding=1)", (5, 6, 2)),
    case("conv transpose dilation", "Conv2DTranspose(3, 3, dilation_rate=2, padding='same')", (5, 6, 2)),
    case("conv transpose 1d", "Conv1DTranspose(3, 3, strides=2, padding='same', activation='relu')", (7, 2)),
    case("conv transpose 3d", "Conv3DTranspose(2, 3, strides=2, padding='same')", (3, 4, 3, 2)),
]
