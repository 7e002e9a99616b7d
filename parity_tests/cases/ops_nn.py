"""keras.ops of neural networks, of windows and of images."""

from parity_tests.case import case

ACTIVATIONS = (
    "relu relu6 sigmoid sparse_sigmoid softplus softsign soft_shrink sparse_plus silu squareplus log_sigmoid leaky_relu "
    "hard_sigmoid hard_silu elu selu gelu celu tanh_shrink hard_tanh hard_shrink softmax log_softmax sparsemax"
).split()
FLOAT32_RESIZE = "TensorFlow resizes in float32 whatever the dtype of its input"
FLOAT32_SCALE = "Keras casts the scale of the attention from float32"

CASES = [
    case("activations", f"lambda x: [{', '.join(f'ops.{name}(x)' for name in ACTIVATIONS)}, ops.glu(x), ops.threshold(x, 0.1, -2.0)]", (5, 4), options={"scale": 3.0}),
    case("activations with arguments", "lambda x: [ops.gelu(x, approximate=False), ops.leaky_relu(x, 0.3), ops.elu(x, 0.5), ops.celu(x, 2.0), ops.soft_shrink(x, 0.2), ops.hard_shrink(x, 0.2), ops.squareplus(x, 2), ops.glu(x, axis=1), ops.softmax(x, axis=1), ops.softmax(x, axis=None), ops.log_softmax(x, axis=1), ops.sparsemax(x, axis=1)]", (6, 4)),
    case("activations of images", "lambda x: (lambda c: Conv2D(2, 2)(ops.softmax(c) + ops.glu(ops.concatenate([c, ops.gelu(c)], axis=-1)) + ops.sparsemax(c)))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("normalize", "lambda x: [ops.normalize(x), ops.normalize(x, axis=1), ops.normalize(x, order=1), ops.normalize(x, axis=(1, 2)), ops.normalize(x, order=3, axis=1), ops.normalize(x, axis=None), ops.normalize(x * 1e-9, epsilon=1e-5)]", (4, 6)),
    case("normalize images", "lambda x: Conv2D(2, 2)(ops.normalize(Conv2D(4, 3)(x)))", (6, 6, 2), permutes=0),
    case("layer normalization", "lambda x: [ops.layer_normalization(x), ops.layer_normalization(x, np.arange(6, dtype='float32'), np.ones(6, 'float32'), epsilon=1e-3), ops.layer_normalization(x, axis=1), ops.layer_normalization(x, axis=(1, 2)), ops.layer_normalization(x, gamma=np.arange(6, dtype='float32'))]", (4, 6)),
    case("layer normalization of images", "lambda x: (lambda c: [ops.layer_normalization(c), ops.layer_normalization(c, axis=(1, 2, 3))])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("rms normalization", "lambda x, y: [ops.rms_normalization(x, np.arange(6, dtype='float32')), ops.rms_normalization(x, y[0], epsilon=1e-3)]", (4, 6), (6,)),
    case("batch normalization by ops", "lambda x: (lambda c: [ops.batch_normalization(c, np.arange(4, dtype='float32'), np.arange(1, 5, dtype='float32'), -1, np.ones(4, 'float32'), np.arange(4, dtype='float32')), ops.batch_normalization(c, *ops.moments(c, (0, 1, 2)), -1, np.ones(4, 'float32'), np.ones(4, 'float32'))])(Conv2D(4, 3)(x))", (6, 5, 2), permutes=0),
    case("instance normalization by ops", "lambda x: (lambda c: Conv2D(2, 2)((c - ops.mean(c, (1, 2), keepdims=True)) * ops.rsqrt(ops.var(c, (1, 2), keepdims=True) + 1e-5)))(Conv2D(4, 3)(x))", (6, 6, 2), permutes=0),
    case("attention", "lambda q, k, v: [ops.dot_product_attention(q, k, v), ops.dot_product_attention(q, k, v, scale=0.3), ops.dot_product_attention(q, k, v, is_causal=True), ops.dot_product_attention(q, k, v, bias=np.arange(20, dtype='float32').reshape(1, 1, 4, 5)), ops.dot_product_attention(q, k, v, mask=ops.transpose(k[..., 0], (0, 2, 1))[:, :, None, :] > 0.3), ops.dot_product_attention(q, k, v, mask=(k[:, None, None, :, 0, 0] > 1.0), is_causal=True)]", (4, 2, 3), (5, 2, 3), (5, 2, 6), leak=2e-8, because=FLOAT32_SCALE),
    case("attention with shared heads", "lambda q, k, v: ops.dot_product_attention(q, k, v, scale=0.5)", (4, 4, 3), (5, 2, 3), (5, 2, 6)),
    case("cross entropy of logits", "lambda x, y, i: [ops.binary_crossentropy(ops.sigmoid(y), x, from_logits=True), ops.categorical_crossentropy(ops.softmax(y), x, from_logits=True), ops.sparse_categorical_crossentropy(i[:, 0] % 6, x, from_logits=True), ops.categorical_crossentropy(ops.softmax(y), x, from_logits=True, axis=1)]", (6,), (6,), ("int32", 1)),
    case("pooling by ops", "lambda x: [ops.max_pool(x, (2, 2)), ops.max_pool(x, (3, 3), 2, 'same'), ops.average_pool(x, (2, 3), 1, 'same'), ops.average_pool(x, (2, 2)), ops.max_pool(x, 2)]", (7, 8, 2), permutes=0),
    case("pooling of steps by ops", "lambda x: [ops.max_pool(x, (2,)), ops.average_pool(x, (3,), 2, 'same')]", (7, 2)),
    case("convolution by an array", "lambda x: [ops.conv(x, np.arange(54, dtype='float32').reshape(3, 3, 2, 3) / 50), ops.conv(x, np.arange(54, dtype='float32').reshape(3, 3, 2, 3) / 50, 2, 'same'), ops.conv(x, np.arange(54, dtype='float32').reshape(3, 3, 2, 3) / 50, dilation_rate=2, padding='same')]", (7, 8, 2), permutes=0),
    case("convolution of steps by an array", "lambda x: ops.conv(x, np.arange(18, dtype='float32').reshape(3, 2, 3) / 50, padding='same')", (7, 2)),
    case("depthwise convolution by an array", "lambda x: [ops.depthwise_conv(x, np.arange(36, dtype='float32').reshape(3, 3, 2, 2) / 50), ops.separable_conv(x, np.arange(36, dtype='float32').reshape(3, 3, 2, 2) / 50, np.arange(12, dtype='float32').reshape(1, 1, 4, 3) / 10, 1, 'same')]", (7, 8, 2), permutes=0),
    case("convolution by a tensor", "lambda x, y: [ops.conv(x, y[0], padding='same'), ops.depthwise_conv(x, y[0])]", (7, 8, 2), (3, 3, 2, 4)),
    case("fold and unfold", "lambda x, y: [ops.unfold(x, 3), ops.unfold(x, (2, 3), dilation=1, padding=1, stride=2), ops.fold(y, (5, 6), 2), ops.fold(ops.unfold(x, 2, stride=2), 6, 2, stride=2)]", (2, 6, 6), (8, 20), options={"batches": (3, 3)}),
    case("patches", "lambda x: [ops.image.extract_patches(x, 3), ops.image.extract_patches(x, (2, 3), strides=(1, 2), padding='same'), ops.image.extract_patches(x, 2, strides=1, dilation_rate=2)]", (6, 8, 2)),
    case("colours", "lambda x: [ops.image.rgb_to_grayscale(x), ops.image.rgb_to_hsv(ops.sigmoid(x)), ops.image.hsv_to_rgb(ops.sigmoid(x)), ops.image.rgb_to_hsv(ops.round(ops.sigmoid(x)))]", (4, 5, 3), permutes=0),
    case("cropped and padded images", "lambda x: [ops.image.pad_images(x, 1, 2, 3, 0), ops.image.pad_images(x, 1, 2, target_height=9, target_width=10), ops.image.crop_images(x, 1, 2, target_height=3, target_width=2), ops.image.crop_images(x, 1, 0, 2, 1), ops.image.crop_images(x, bottom_cropping=1, right_cropping=2, target_height=3, target_width=2)]", (6, 5, 2)),
    case("filters of images", "lambda x: [ops.image.gaussian_blur(x, (3, 3), (1.0, 2.0)), ops.image.gaussian_blur(x, (3, 5), (0.5, 1.0)), ops.image.sobel_edges(x)]", (6, 5, 2)),
    case("resized to the nearest", "lambda x: [ops.image.resize(x, (7, 9), interpolation='nearest'), ops.image.resize(x, (3, 4), interpolation='nearest'), ops.image.resize(x, (12, 10), interpolation='nearest')]", (6, 5, 2)),
    case("resized", "lambda x: [ops.image.resize(x, (7, 9)), ops.image.resize(x, (3, 4)), ops.image.resize(x, (3, 4), antialias=True), ops.image.resize(x, (4, 4), crop_to_aspect_ratio=True), ops.image.resize(x, (9, 4), pad_to_aspect_ratio=True, fill_value=0.5)]", (6, 5, 2), leak=2e-6, because=FLOAT32_RESIZE),
    case("resized by cubes", "lambda x: [ops.image.resize(x, (12, 10), interpolation='bicubic'), ops.image.resize(x, (3, 4), interpolation='bicubic', antialias=True)]", (6, 5, 2), leak=2e-3, because="TensorFlow takes the coefficients of its bicubic from a table of 1024 offsets"),
]
