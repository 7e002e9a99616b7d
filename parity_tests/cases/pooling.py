"""Pooling: `same` pads max pooling with minus infinity and does not count cells in averages."""

from parity_tests.case import case

CASES = [
    *(
        case(f"{kind} {p} k{k} s{s} n{n}", f"{kind}Pooling2D({k}, strides={s}, padding='{p}')", (n, n + 1, 2), permutes=0)
        for kind in ("Max", "Average")
        for p in ("same", "valid")
        for k in (2, 3)
        for s in (1, 2, 3)
        for n in (7, 8)
    ),
    case("max pooling of two sizes", "MaxPooling2D((2, 3), strides=(1, 2), padding='same')", (7, 8, 2)),
    case("max pooling 1d", "MaxPooling1D(2)", (9, 3)),
    case("average pooling 3d", "AveragePooling3D(2, padding='same')", (5, 6, 5, 2)),
    case("max pooling 3d dynamic", "Conv3D(2, 2), MaxPooling3D(3, strides=2, padding='same')", (None, None, None, 1)),
    case("max pooling 2d dynamic", "Conv2D(2, 2), MaxPooling2D(3, strides=2, padding='same')", (None, None, 1)),
    case("max pooling of even and odd sizes", "Conv2D(2, 2), *[MaxPooling2D(3, strides=2, padding='same') for _ in range(3)]", (10, 12, 1)),
    case("average pooling dynamic", "Conv2D(2, 2), AveragePooling2D(3, strides=2, padding='same')", (None, None, 1)),
    case("max pooling channels first", "MaxPooling2D(2, data_format='channels_first')", (3, 6, 8)),
    *(
        case(f"global {kind} {rank}d keepdims {keep}", f"Global{kind}Pooling{rank}D(keepdims={keep})", (5, 6, 4, 3)[3 - rank :], permutes=0)
        for kind in ("Average", "Max")
        for rank in (1, 2, 3)
        for keep in (True, False)
    ),
    case("global pooling after conv", "Conv2D(4, 3), GlobalAveragePooling2D(), Dense(3)", (6, 6, 2), permutes=0),
    case("global pooling dynamic size", "Conv2D(4, 3), GlobalMaxPooling2D(keepdims=True), Flatten(), Dense(3)", (None, None, 2), permutes=0),
    case("global average 1d masked", "Embedding(50, 4, mask_zero=True), GlobalAveragePooling1D()", ("int32", 9)),
    case("global max 1d ignores the mask", "Embedding(50, 4, mask_zero=True), GlobalMaxPooling1D()", ("int32", 9)),
    *(
        case(f"adaptive {kind} {rank}d", f"Adaptive{kind}Pooling{rank}D({size})", (7, 8, 9, 2)[3 - rank :])
        for kind in ("Average", "Max")
        for rank, size in ((1, 3), (2, (3, 5)), (3, 2))
    ),
]
