"""keras.ops that reduce, sort or accumulate; products of tensors."""

from parity_tests.case import case

REDUCTIONS = "sum mean max min amax amin std var prod any all logsumexp nansum nanmean nanmax nanmin nanvar nanstd nanprod ptp median".split()
NO_KEEP = "count_nonzero".split()
FLOAT32_MEAN = "Keras takes the mean and the variance of whole numbers in float32"


def over(names, axes, x="x", keep=""):
    """A model that reduces one tensor in several ways."""
    return ", ".join(f"ops.{name}({x}, axis={axis}{keep})" for name in names for axis in axes)


CASES = [
    *(case(f"reduce by {name}", f"lambda x: [{over([name], ('1', '-1', '(1, 2)', 'None'))}, {over([name], ('1', '(1, 2)'), keep=', keepdims=True')}]", (4, 6)) for name in REDUCTIONS),
    *(case(f"reduce by {name}", f"lambda x: [{over([name], ('1', '-1', '(1, 2)', 'None'))}]", (4, 6)) for name in NO_KEEP),
    case("reduce images", f"lambda x: (lambda c: [{over(['mean', 'max', 'std', 'logsumexp'], ('1', '2', '-1', '(1, 2)', '(1, 3)', '(1, 2, 3)'), 'c')}])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("reduce images and go on", "lambda x: (lambda c: Conv2D(2, 2)(c - ops.mean(c, axis=(1, 2), keepdims=True)) )(Conv2D(4, 3)(x))", (6, 5, 2), permutes=0),
    case("reduce whole numbers", f"lambda i: [{over('sum max min std any all prod median ptp count_nonzero cumsum'.split(), ('1',), 'i % 5')}]", ("int32", 5)),
    case("reduce bools", f"lambda x: [{over('sum any all std count_nonzero max min argmax cumsum'.split(), ('1',), '(x > 0)')}]", (5, 4)),
    case("means of whole numbers", "lambda i, x: [ops.mean(i, axis=1), ops.var(i, axis=1), ops.mean(x > 0, axis=1)]", ("int32", 5), (5,), leak=2e-7, because=FLOAT32_MEAN),
    case("reduce with a start", "lambda x: [ops.max(x, axis=1, initial=0.5), ops.min(x, axis=(1, 2), initial=-0.3)]", (4, 6)),
    case("reduce without NaN", f"lambda x: (lambda y: [{over('nansum nanmean nanmax nanmin nanvar nanstd nanprod nanmedian nanargmax nanargmin nancumsum nancumprod'.split(), ('1', '-1'), 'y')}, ops.nanquantile(y, 0.3, axis=1)])(ops.log(x + 1e-3))", (5, 6)),
    case("global pooling by ops", "lambda x: Dense(3)(ops.mean(Conv2D(4, 3)(x), axis=(1, 2)))", (6, 6, 2), permutes=0),
    case("argmax", "lambda x: [ops.argmax(x, axis=1), ops.argmin(x, axis=-1), ops.argmax(x), ops.argmax(x, axis=2, keepdims=True), ops.argmin(x, axis=1, keepdims=True), ops.argmax(ops.cast(x, 'int32'), axis=1), ops.argmin(x, keepdims=True)]", (4, 6)),
    case("argmax of images", "lambda x: (lambda c: [ops.argmax(c, axis=-1), ops.argmin(c, axis=1), ops.argmax(c)])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("average with weights", "lambda x, y: [ops.average(x, axis=1, weights=ops.abs(y)), ops.average(x, axis=1, weights=np.array([1.0, 2.0, 3.0, 4.0], 'float32')), ops.average(x, axis=-1, weights=np.arange(1.0, 7.0, dtype='float32')), ops.average(x, weights=ops.abs(y)), ops.average(x, axis=1), ops.average(x)]", (4, 6), (4, 6)),
    case("quantiles", "lambda x: [ops.quantile(x, 0.3, axis=1), ops.quantile(x, [0.1, 0.5, 0.9], axis=-1), ops.percentile(x, 25, axis=1, keepdims=True), ops.quantile(x, 0.7), ops.quantile(x, 0.3, axis=(1, 2)), ops.quantile(x, [0.2, 0.4], axis=(0, 2)), ops.median(x, axis=(0, 2), keepdims=True), ops.quantile(x, 0.37, axis=1, method='lower'), *(ops.percentile(x, 37, axis=1, method=m) for m in ('lower', 'higher', 'midpoint', 'nearest'))]", (5, 6)),
    case("quantiles of images", "lambda x: (lambda c: [ops.quantile(c, 0.3, axis=-1), ops.quantile(c, [0.2, 0.6], axis=1), ops.median(c, axis=(1, 2)), ops.quantile(c, [0.2, 0.6], axis=3, keepdims=True)])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("moments", "lambda x: [*ops.moments(x, axes=[1]), *ops.moments(x, axes=[1, 2], keepdims=True), *ops.moments(Conv2D(4, 2)(x[..., None]), axes=[1, 2]), *ops.moments(Conv2D(4, 2)(x[..., None]), axes=[0, 1, 2])]", (4, 6)),
    case("norms", "lambda x: [ops.norm(x, axis=1), ops.norm(x[0]), ops.norm(x, axis=-1, keepdims=True), ops.norm(x, ord=1, axis=1), ops.norm(x, ord=3, axis=1), ops.norm(x, ord=np.inf, axis=1), ops.norm(x, ord=0, axis=1), ops.norm(x, axis=(1, 2)), *(ops.norm(x, ord=o, axis=(1, 2)) for o in ('fro', 'nuc', 1, 2, -1, -2, np.inf)), ops.norm(x, ord=1, axis=(2, 1)), ops.norm(x, ord=1, axis=(1, 2), keepdims=True)]", (4, 6)),
    case("norms of images", "lambda x: (lambda c: [ops.norm(c, axis=-1), ops.norm(c, axis=(1, 2)), ops.norm(c, ord=1, axis=(3, 1)), c / ops.norm(c, axis=-1, keepdims=True)])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("sums that accumulate", "lambda x: [ops.cumsum(x, axis=1), ops.cumsum(x), ops.cumprod(x, axis=-1), ops.diff(x), ops.diff(x, n=2, axis=1), ops.trapezoid(x), ops.trapezoid(x, dx=0.5, axis=1), ops.cumsum(x > 0, axis=1)]", (4, 6)),
    case("sums that accumulate in images", "lambda x: (lambda c: [ops.cumsum(c, axis=-1), ops.cumsum(c), ops.diff(c, axis=1), ops.trapezoid(c, axis=2)])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("sorted", "lambda x: [ops.sort(x), ops.sort(x, axis=1), ops.sort(x, axis=None), ops.argsort(x), ops.argsort(ops.round(x), axis=1), ops.argsort(x, axis=None), *ops.top_k(x, 3), *ops.top_k(ops.relu(x), 4), ops.top_k(x, 1)[0], ops.top_k(x, 2)[1]]", (4, 6)),
    case("sorted images", "lambda x: (lambda c: [ops.sort(c), ops.argsort(c, axis=1), *ops.top_k(c, 2), ops.sort(c, axis=None)])(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("searched", "lambda x: [ops.digitize(x, np.array([-1.0, 0.0, 0.5])), ops.searchsorted(np.array([-1.0, 0.0, 0.5], 'float32'), x), ops.searchsorted(np.array([-1.0, 0.0, 0.5], 'float32'), ops.relu(x), side='right'), ops.digitize(Conv2D(2, 2)(x[..., None]), np.array([0.0, 0.1]))]", (4, 6)),
    case("in the top", "lambda x, i: ops.in_top_k(i[:, 0] % 5, x, 2)", (5,), ("int32", 1)),
    case("matrix products", "lambda x, y: [x @ y, ops.matmul(x, np.arange(18, dtype='float32').reshape(6, 3) / 9), ops.matmul(np.arange(8, dtype='float32').reshape(2, 4) / 9, x), ops.matmul(x, y[0]), ops.matmul(x[:, 0, None], y), ops.matmul(x, np.arange(6, dtype='float32')), ops.dot(x, np.arange(12, dtype='float32').reshape(6, 2)), ops.dot(x, y), ops.inner(x, x[0]), ops.vdot(x[0], x[1]), ops.outer(x[0, 0], y[0]), ops.dot(x, 2.0), ops.kron(x[0], y[0, :2])]", (4, 6), (6, 5), options={"batches": (3, 2)}),
    case("matrix products of images", "lambda x: (lambda c: ops.matmul(c, np.arange(12, dtype='float32').reshape(4, 3) / 9))(Conv2D(4, 3)(x))", (6, 5, 2)),
    case("matrix products of whole numbers", "lambda i, x: [ops.matmul(i, ops.transpose(i)), ops.matmul(i, np.ones((5, 3), 'float32')), ops.matmul(i, ops.transpose(x))]", ("int32", 5), (5,)),
    case("tensordot", "lambda x, y: [ops.tensordot(x, y[0], axes=1), ops.tensordot(x, y, axes=[[2], [1]]), ops.tensordot(x[0], y[0], axes=0), ops.tensordot(x, x, axes=[[1, 2], [1, 2]])]", (4, 6), (6, 5)),
    case("einsum", "lambda x, y: [ops.einsum('bij,bjk->bik', x, y), ops.einsum('bij,bkj->bik', x, x), ops.einsum('bij->bji', x), ops.einsum('bij->b', x), ops.einsum('...ij,...jk->...ik', x, y), ops.einsum('bij,jk->bik', x, np.arange(12, dtype='float32').reshape(6, 2))]", (4, 6), (6, 5)),
    case("einsum of images", "lambda x: (lambda c: [ops.einsum('bhwc,cd->bhwd', c, np.arange(8, dtype='float32').reshape(4, 2)), ops.einsum('bhwc,bhwd->bcd', c, c)])(Conv2D(4, 3)(x))", (6, 5, 2), permutes=0),
    case("vectors", "lambda x, y: [ops.cross(x, y), ops.cross(x, y, axis=1), ops.cdist(x, y)]", (3, 3), (3, 3)),
    case("correlation", "lambda x, y: [ops.correlate(x[0], y[0]), ops.correlate(x[0], y[0], mode='full'), ops.correlate(x[0], y[0], mode='same'), ops.corrcoef(x)]", (7,), (4,), options={"batches": (3, 2)}),
    case("linear algebra", "lambda x: (lambda a: [ops.det(a), ops.inv(a), ops.cholesky(a), ops.cholesky(a, upper=True), ops.solve(a, x), ops.solve(a, x[:, 0]), ops.logdet(a), *ops.slogdet(x), ops.pinv(x), ops.svd(x, compute_uv=False), ops.solve_triangular(ops.cholesky(a), x, lower=True), ops.solve_triangular(a, x), ops.cholesky_inverse(ops.cholesky(a)), ops.matrix_rank(x)])(x @ ops.transpose(x, (0, 2, 1)) + np.eye(4, dtype='float32'))", (4, 4)),
    case("signal to noise", "lambda x, y: ops.psnr(x, y, 2.0)", (4, 6), (4, 6)),
    case("spectra", "lambda x, y: [*ops.fft((x, y)), *ops.fft2((x, y)), *ops.ifft2((x, y)), *ops.rfft(x), *ops.rfft(x, 8), ops.irfft((x, y)), ops.irfft((x, y), 9), *ops.stft(x, 5, 2, 6), *ops.stft(x, 4, 3, 8, window='hamming', center=False), *ops.stft(x, 4, 2, 4, window=None), ops.extract_sequences(x, 4, 2)]", (3, 9), (3, 9)),
]
