"""What Keras and PyTorch both do in the tests of training: cases, and the numbers that they start from. Data only."""

import numpy as np

STEPS = 20
# (path of the Keras variable, its shape); `conv` and `embedding` are there for what looks at shapes and names.
VARIABLES = [
    ("dense/kernel", (5, 4)),
    ("dense/bias", (4,)),
    ("conv/kernel", (3, 3, 2, 4)),
    ("embedding/embeddings", (6, 3)),
]


def start(index):
    """The values of a variable before the first step, (shape), float64."""
    return np.random.default_rng(index).normal(size=VARIABLES[index][1])


def gradient(index, step):
    """The gradient of a variable in a step: of all sizes from 1 to 1e-6."""
    rng = np.random.default_rng(1000 + 100 * index + step)
    shape = VARIABLES[index][1]
    return rng.normal(size=shape) * 10.0 ** rng.uniform(-6, 0, size=shape)


def schedule(name, **config):
    return {"class_name": name, "config": config, "module": "keras.optimizers.schedules", "registered_name": None}


def inner(name, **config):
    return {"class_name": name, "config": config, "module": "keras.optimizers", "registered_name": None}


SCHEDULES = {
    "exponential": schedule("ExponentialDecay", initial_learning_rate=0.1, decay_steps=7, decay_rate=0.5),
    "exponential_1": schedule("ExponentialDecay", initial_learning_rate=0.1, decay_steps=1, decay_rate=0.9),
    "staircase": schedule("ExponentialDecay", initial_learning_rate=0.1, decay_steps=4, decay_rate=0.5, staircase=True),
    "piecewise": schedule("PiecewiseConstantDecay", boundaries=[3, 8, 9], values=[0.1, 0.02, 0.5, 0.01]),
    "polynomial": schedule("PolynomialDecay", initial_learning_rate=0.1, decay_steps=9, power=0.7),
    "polynomial_0": schedule("PolynomialDecay", initial_learning_rate=0.1, decay_steps=9, end_learning_rate=0.0, power=2.0),
    "polynomial_cycle": schedule("PolynomialDecay", initial_learning_rate=0.1, decay_steps=6, cycle=True),
    "inverse_time": schedule("InverseTimeDecay", initial_learning_rate=0.1, decay_steps=3, decay_rate=0.5),
    "inverse_time_stairs": schedule("InverseTimeDecay", initial_learning_rate=0.1, decay_steps=3, decay_rate=0.5, staircase=True),
    "cosine": schedule("CosineDecay", initial_learning_rate=0.1, decay_steps=12, alpha=0.1),
    "cosine_warmup": schedule("CosineDecay", initial_learning_rate=0.0, decay_steps=10, warmup_target=0.2, warmup_steps=5),
    "restarts": schedule("CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=3, m_mul=0.8, alpha=0.05),
    "restarts_1": schedule("CosineDecayRestarts", initial_learning_rate=0.1, first_decay_steps=5, t_mul=1.0),
}  # fmt: skip
SHARED = {
    "decay": {"weight_decay": 0.05},
    "clipnorm": {"clipnorm": 0.5},
    "global_clipnorm": {"global_clipnorm": 0.5},
    "clipvalue": {"clipvalue": 0.1},
    "ema": {"use_ema": True, "ema_momentum": 0.8},
    "ema_overwrite": {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 3},
    "accumulate": {"gradient_accumulation_steps": 3},
    "accumulate_ema": {
        "gradient_accumulation_steps": 2,
        "use_ema": True,
        "ema_momentum": 0.8,
        "ema_overwrite_frequency": 3,
    },
    "schedule": {"learning_rate": SCHEDULES["cosine_warmup"]},
}
OWN = {
    "SGD": [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "RMSprop": [{}, {"momentum": 0.9}, {"centered": True}, {"centered": True, "momentum": 0.5, "rho": 0.8, "epsilon": 1e-3}],
    "Adam": [{}, {"amsgrad": True}, {"beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3}],
    "AdamW": [{}, {"amsgrad": True, "weight_decay": 0.1}],
    "Adadelta": [{}, {"rho": 0.8, "epsilon": 1e-4, "learning_rate": 1.0}],
    "Adagrad": [{}, {"initial_accumulator_value": 0.0, "epsilon": 1e-3}],
    "Adamax": [{}, {"beta_1": 0.7, "epsilon": 1e-3}],
    "Adafactor": [{}, {"relative_step": False, "clip_threshold": 0.5, "beta_2_decay": -0.5}],
    "Nadam": [{}, {"beta_1": 0.7, "epsilon": 1e-3}],
    "Ftrl": [{}, {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.1, "learning_rate_power": -0.4, "l2_shrinkage_regularization_strength": 0.05, "beta": 0.2}],
    "Lion": [{}, {"beta_1": 0.7, "beta_2": 0.8}],
    "Lamb": [{}, {"epsilon": 1e-3}],
    "Muon": [{}, {"nesterov": False, "rms_rate": None, "adam_weight_decay": None}, {"exclude_embeddings": False, "exclude_layers": ["dense"], "adam_lr_ratio": 0.3}],
    "ScheduleFreeAdamW": [{}, {"warmup_steps": 5, "beta_1": 0.8}],
}  # fmt: skip


def tokens(step):
    """The ids of a batch for the variable `embedding`, some of them twice, and the gradients of their vectors."""
    rng = np.random.default_rng(5000 + step)
    return rng.integers(0, 5, size=9), rng.normal(size=(9, 3)) * 10.0 ** rng.uniform(-4, 0, size=(9, 3))


SPARSE = {
    **{name: (name, {"learning_rate": 0.01}) for name in OWN if name not in ("Adafactor", "Muon")},
    **{key: ("Adam", {"learning_rate": 0.01, **SHARED[key]}) for key in ("clipnorm", "global_clipnorm", "clipvalue", "accumulate", "decay")},
    "SGD-momentum": ("SGD", {"learning_rate": 0.01, "momentum": 0.9, "nesterov": True}),
    "RMSprop-all": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.9, "centered": True}),
}  # fmt: skip


def optimizers():
    """name -> (class, config): every optimizer with its own options, and with some of those that all share."""
    cases = {}
    for index, (name, options) in enumerate(OWN.items()):
        for number, config in enumerate(options):
            cases[f"{name}-{number}"] = (name, {"learning_rate": 0.01, **config})
        shared = SHARED if name == "Adam" else dict(list(SHARED.items())[index % 5 :: 5])
        for key, config in shared.items():
            cases[f"{name}-{key}"] = (name, {"learning_rate": 0.01, **config})
    cases["SGD-momentum-schedule"] = ("SGD", {"momentum": 0.9, "learning_rate": SCHEDULES["cosine_warmup"]})
    cases["LossScaleOptimizer"] = ("LossScaleOptimizer", {"inner_optimizer": inner("Adam", learning_rate=0.01)})
    chosen = {"dense/.*": inner("Adam", learning_rate=0.01, clipnorm=0.5), "conv/kernel": inner("Lion")}
    default = inner("SGD", learning_rate=SCHEDULES["exponential"], momentum=0.9)
    choice = {"class_name": "OptimizerMap", "module": "keras.optimizers", "registered_name": None}
    choice["config"] = {"default_optimizer": default, "optimizer_map": chosen}
    cases["MultiOptimizer"] = ("MultiOptimizer", {"optimizer_map": choice})
    return cases


# -- losses -----------------------------------------------------------------------------------------------


def batch(kind, size=6, features=4):
    """(outputs, targets) of a kind, float64."""
    rng = np.random.default_rng(sum(map(ord, kind)))
    real = rng.normal(size=(size, features))
    share = np.exp(real) / np.exp(real).sum(-1, keepdims=True)
    unit = real / np.linalg.norm(real, axis=-1, keepdims=True)
    classes = rng.integers(0, features, size=size)
    one_hot = np.eye(features)[classes]
    binary = rng.integers(0, 2, size=(size, features)).astype(float)
    steps = rng.normal(size=(size, 5, features))
    return {
        "real": (real, rng.normal(size=(size, features))),
        "flat": (real[:, :1], rng.normal(size=size)),
        "positive": (np.abs(real) + 0.1, np.abs(rng.normal(size=(size, features)))),
        "signs": (real, binary),
        "plus_minus": (real, 2 * binary - 1),
        "one_hot": (share, one_hot),
        "one_hot_logits": (real, one_hot),
        "unscaled": (np.abs(real), one_hot),
        "shares": (share, np.roll(share, 1, axis=0)),
        "sigmoid": (1 / (1 + np.exp(-real)), binary),
        "saturated": (np.where(binary > 0, 0.0, 1.0), binary),
        "binary_logits": (real, binary),
        "classes": (share, classes),
        "classes_logits": (real, classes),
        "classes_column": (real, classes[:, None]),
        "step_classes": (steps, rng.integers(0, features, size=(size, 5))),
        "step_real": (steps, rng.normal(size=(size, 5, features))),
        "unit": (unit, rng.integers(0, 3, size=size)),
        "labels": (steps, np.array([[1, 2, 0], [3, 0, 0], [1, 1, 0], [2, 3, 1], [1, 0, 0], [3, 2, 0]])),
    }[kind]


LOSSES = [
    ("MeanSquaredError", "real", {}), ("MeanSquaredError", "flat", {}), ("MeanSquaredError", "step_real", {}),
    ("MeanAbsoluteError", "real", {}), ("MeanAbsolutePercentageError", "real", {}),
    ("MeanSquaredLogarithmicError", "real", {}), ("Huber", "real", {}), ("Huber", "real", {"delta": 0.3}),
    ("LogCosh", "real", {}), ("Poisson", "positive", {}), ("Hinge", "signs", {}), ("Hinge", "plus_minus", {}),
    ("SquaredHinge", "signs", {}), ("SquaredHinge", "plus_minus", {}), ("CategoricalHinge", "one_hot_logits", {}),
    ("KLDivergence", "shares", {}), ("KLDivergence", "one_hot", {}), ("CosineSimilarity", "real", {}),
    ("BinaryCrossentropy", "sigmoid", {}), ("BinaryCrossentropy", "saturated", {}),
    ("BinaryCrossentropy", "binary_logits", {"from_logits": True}),
    ("BinaryCrossentropy", "binary_logits", {"from_logits": True, "label_smoothing": 0.2}),
    ("BinaryFocalCrossentropy", "sigmoid", {}), ("BinaryFocalCrossentropy", "sigmoid", {"apply_class_balancing": True, "gamma": 1.5}),
    ("BinaryFocalCrossentropy", "binary_logits", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", "one_hot", {}), ("CategoricalCrossentropy", "unscaled", {"label_smoothing": 0.1}),
    ("CategoricalCrossentropy", "one_hot_logits", {"from_logits": True}),
    ("CategoricalCrossentropy", "one_hot_logits", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalFocalCrossentropy", "one_hot", {}), ("CategoricalFocalCrossentropy", "one_hot_logits", {"from_logits": True, "alpha": 0.5, "gamma": 1.0}),
    ("SparseCategoricalCrossentropy", "classes", {}), ("SparseCategoricalCrossentropy", "classes_logits", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", "classes_column", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", "step_classes", {"from_logits": True}),
    ("SparseCategoricalCrossentropy", "classes_logits", {"from_logits": True, "ignore_class": 1}),
    ("SparseCategoricalCrossentropy", "step_classes", {"from_logits": True, "ignore_class": 0}),
    ("CategoricalGeneralizedCrossEntropy", "classes", {}), ("CategoricalGeneralizedCrossEntropy", "classes", {"q": 0.7}),
    ("Dice", "sigmoid", {}), ("Dice", "sigmoid", {"axis": -1}), ("Tversky", "sigmoid", {"alpha": 0.3, "beta": 0.7}),
    ("Tversky", "sigmoid", {"axis": [1]}), ("Circle", "unit", {}), ("Circle", "unit", {"gamma": 8.0, "margin": 0.2, "remove_diagonal": False}),
    ("CTC", "labels", {}),
]  # fmt: skip
REDUCTIONS = ["sum_over_batch_size", "sum", "none", "mean_with_sample_weight"]


def weights(targets, values):
    """One weight per sample, or per value where a sample has several; some are zero."""
    found = np.random.default_rng(3).uniform(0, 2, size=values)
    found.flat[0] = 0.0
    return found


# -- metrics ----------------------------------------------------------------------------------------------


def metric_batch(kind, update):
    """(outputs, targets, weights of the samples) of the n-th update."""
    rng = np.random.default_rng(7000 + 10 * update + len(kind))
    real = rng.normal(size=(8, 4))
    share = np.exp(real) / np.exp(real).sum(-1, keepdims=True)
    classes, binary = rng.integers(0, 4, size=8), rng.integers(0, 2, size=(8, 4)).astype(float)
    weights = rng.integers(0, 4, size=8).astype(float)
    steps = rng.normal(size=(8, 5, 4))
    outputs, targets = {
        "real": (real, rng.normal(size=(8, 4))),
        "flat": (real[:, :1], rng.normal(size=8)),
        "positive": (np.abs(real) + 0.1, np.abs(rng.normal(size=(8, 4)))),
        "equal": (np.round(real), np.round(rng.normal(size=(8, 4)))),
        "sigmoid": (1 / (1 + np.exp(-real)), binary),
        "one_score": (1 / (1 + np.exp(-real[:, :1])), binary[:, :1]),
        "scores": (1 / (1 + np.exp(-real[:, :1])), binary[:, 0]),
        "logits": (real, binary),
        "signs": (real, 2 * binary - 1),
        "one_hot": (share, np.eye(4)[classes]),
        "ties": (np.round(share * 4) / 4, np.eye(4)[classes]),
        "classes": (share, classes),
        "column": (share, classes[:, None]),
        "step_classes": (steps, rng.integers(0, 4, size=(8, 5))),
        "found": (rng.integers(0, 4, size=8).astype(float), classes),
    }[kind]
    return outputs, targets, weights


METRICS = [
    ("Accuracy", "equal", {}), ("BinaryAccuracy", "sigmoid", {}), ("BinaryAccuracy", "one_score", {"threshold": 0.3}),
    ("BinaryAccuracy", "scores", {}), ("BinaryAccuracy", "logits", {}), ("CategoricalAccuracy", "one_hot", {}), ("CategoricalAccuracy", "ties", {}),
    ("SparseCategoricalAccuracy", "classes", {}), ("SparseCategoricalAccuracy", "column", {}),
    ("SparseCategoricalAccuracy", "step_classes", {}), ("TopKCategoricalAccuracy", "one_hot", {"k": 2}),
    ("TopKCategoricalAccuracy", "ties", {"k": 2}), ("SparseTopKCategoricalAccuracy", "classes", {"k": 3}),
    ("MeanSquaredError", "real", {}), ("MeanSquaredError", "flat", {}), ("MeanAbsoluteError", "real", {}),
    ("MeanAbsolutePercentageError", "real", {}), ("MeanSquaredLogarithmicError", "positive", {}),
    ("RootMeanSquaredError", "real", {}), ("LogCoshError", "real", {}), ("CosineSimilarity", "real", {}),
    ("KLDivergence", "one_hot", {}), ("Poisson", "positive", {}), ("Hinge", "signs", {}), ("Hinge", "logits", {}),
    ("SquaredHinge", "signs", {}), ("CategoricalHinge", "one_hot", {}), ("BinaryCrossentropy", "sigmoid", {}),
    ("BinaryCrossentropy", "logits", {"from_logits": True, "label_smoothing": 0.1}),
    ("CategoricalCrossentropy", "one_hot", {}), ("SparseCategoricalCrossentropy", "classes", {}),
    ("SparseCategoricalCrossentropy", "step_classes", {"from_logits": True}),
    ("PearsonCorrelation", "real", {}), ("ConcordanceCorrelation", "real", {}),
    ("TruePositives", "sigmoid", {}), ("FalsePositives", "scores", {"thresholds": [0.2, 0.7]}),
    ("TrueNegatives", "one_score", {}), ("FalseNegatives", "sigmoid", {"thresholds": 0.4}),
    ("Precision", "sigmoid", {}), ("Precision", "one_hot", {"top_k": 2}), ("Precision", "one_hot", {"class_id": 1, "thresholds": 0.3}),
    ("Recall", "scores", {"thresholds": [0.0, 0.5, 1.0]}), ("Recall", "one_hot", {"top_k": 2, "class_id": 2}),
    ("PrecisionAtRecall", "scores", {"recall": 0.6}), ("RecallAtPrecision", "sigmoid", {"precision": 0.5}),
    ("SensitivityAtSpecificity", "scores", {"specificity": 0.5, "num_thresholds": 20}),
    ("SpecificityAtSensitivity", "sigmoid", {"sensitivity": 0.5, "num_thresholds": 1}),
    ("AUC", "scores", {}), ("AUC", "one_score", {"curve": "PR"}), ("AUC", "sigmoid", {"curve": "PR", "summation_method": "minoring", "num_thresholds": 30}),
    ("AUC", "sigmoid", {"summation_method": "majoring", "thresholds": [0.1, 0.5, 0.55]}), ("AUC", "sigmoid", {"curve": "PRGAIN"}),
    ("AUC", "sigmoid", {"multi_label": True}), ("AUC", "sigmoid", {"multi_label": True, "label_weights": [1.0, 2.0, 0.5, 0.0], "curve": "PR"}),
    ("AUC", "logits", {"from_logits": True}), ("AUC", "logits", {}),
    ("F1Score", "one_hot", {}), ("F1Score", "sigmoid", {"threshold": 0.5, "average": "macro"}), ("FBetaScore", "one_hot", {"beta": 0.5, "average": "weighted"}),
    ("FBetaScore", "one_hot", {"beta": 2.0, "average": "micro"}), ("R2Score", "real", {}), ("R2Score", "real", {"class_aggregation": None}),
    ("R2Score", "real", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}),
    ("IoU", "found", {"num_classes": 4, "target_class_ids": [0, 2]}), ("MeanIoU", "found", {"num_classes": 4}),
    ("MeanIoU", "found", {"num_classes": 4, "ignore_class": 1}), ("BinaryIoU", "scores", {}), ("BinaryIoU", "sigmoid", {"target_class_ids": [1], "threshold": 0.3}),
    ("OneHotIoU", "one_hot", {"num_classes": 4, "target_class_ids": [1, 3]}), ("OneHotMeanIoU", "one_hot", {"num_classes": 4}),
    ("MeanIoU", "classes", {"num_classes": 4, "sparse_y_pred": False}),
]  # fmt: skip


def takes_weights(name, kind):
    """Whether Keras has a meaning for one weight per sample there."""
    return kind != "step_classes" and (name, kind) != ("BinaryIoU", "sigmoid")


# -- optimizer state --------------------------------------------------------------------------------------

BEFORE, AFTER = 10, 10  # steps that Keras trains before it saves, and that both go on


def samples(step):
    """(images (4, 5, 5, 2), targets (4, 3)) of a batch."""
    rng = np.random.default_rng(9000 + step)
    return rng.normal(size=(4, 5, 5, 2)), rng.normal(size=(4, 3))


STATES = {
    **{name: (name, {"learning_rate": 0.01}) for name in OWN if name not in ("Adam", "SGD", "RMSprop")},
    "Adam": ("Adam", {}),
    "SGD": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "SGD-plain": ("SGD", {}),
    "SGD-schedule": ("SGD", {"momentum": 0.9, "learning_rate": SCHEDULES["cosine"]}),
    "RMSprop": ("RMSprop", {"momentum": 0.5, "centered": True}),
    "Adam-everything": ("Adam", {"amsgrad": True, "use_ema": True, "ema_momentum": 0.9, "gradient_accumulation_steps": 4, "learning_rate": SCHEDULES["exponential"]}),
    "LossScaleOptimizer": ("LossScaleOptimizer", {"inner_optimizer": inner("Adam", learning_rate=0.01)}),
    "MultiOptimizer": optimizers()["MultiOptimizer"],
}  # fmt: skip
# Of Keras 2, which keeps these numbers in float32: all of them are exact there.
SHORT = {"beta_1": 0.875, "beta_2": 0.96875, "epsilon": 2.0**-20}
LEGACY = {
    "Adam": SHORT,
    "SGD": {"momentum": 0.75},
    "RMSprop": {"momentum": 0.5, "rho": 0.875, "epsilon": 2.0**-20},
    "legacy.Adam": {"decay": 0.125, **SHORT},
    "legacy.RMSprop": {"rho": 0.875, "epsilon": 2.0**-20},
    "legacy.Adagrad": {"initial_accumulator_value": 0.125, "epsilon": 2.0**-20},
}
LEGACY_RATE = 2.0**-7


# -- weights ----------------------------------------------------------------------------------------------

REGULARIZERS = {
    "l1": ("L1", {"l1": 0.03}), "l2": ("L2", {"l2": 0.05}), "both": ("L1L2", {"l1": 0.02, "l2": 0.04}),
    "rows": ("OrthogonalRegularizer", {"factor": 0.1}), "columns": ("OrthogonalRegularizer", {"mode": "columns"}),
}  # fmt: skip
# name -> (class, config, index in VARIABLES)
CONSTRAINTS = {
    "max": ("MaxNorm", {"max_value": 1.0}, 0), "max_1": ("MaxNorm", {"max_value": 1.0, "axis": 1}, 0),
    "max_conv": ("MaxNorm", {"max_value": 1.0, "axis": [0, 1, 2]}, 2), "unit": ("UnitNorm", {}, 0),
    "unit_conv": ("UnitNorm", {"axis": [0, 1, 2]}, 2), "min_max": ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.5, "rate": 0.7}, 0),
    "positive": ("NonNeg", {}, 2), "embedding": ("MaxNorm", {"max_value": 0.5, "axis": 1}, 3),
}  # fmt: skip
INITIALIZERS = {
    **{name: (name, {}) for name in (
        "GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "RandomUniform",
        "RandomNormal", "TruncatedNormal", "Zeros", "Ones", "Orthogonal",
    )},
    "Constant": ("Constant", {"value": 0.3}),
    "VarianceScaling": ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "uniform"}),
    "VarianceScaling-2": ("VarianceScaling", {"scale": 0.5, "mode": "fan_avg", "distribution": "untruncated_normal"}),
    "Orthogonal-2": ("Orthogonal", {"gain": 2.0}),
    "RandomUniform-2": ("RandomUniform", {"minval": -0.2, "maxval": 0.1}),
}  # fmt: skip
SIZES = {"dense": (120, 80), "conv": (3, 3, 24, 40), "depthwise": (3, 3, 200, 8)}


# -- callbacks --------------------------------------------------------------------------------------------

EPOCHS, RUNS = 25, 12


def monitored(run):
    """The values of a metric over the epochs: on the way down, with noise."""
    rng = np.random.default_rng(300 + run)
    return np.round(np.exp(-np.arange(EPOCHS) / 5) + rng.normal(size=EPOCHS) * 0.05, 4)


def stopping(run):
    rng = np.random.default_rng(400 + run)
    baseline = [None, 0.5][run % 3 == 0]
    return {
        "patience": int(rng.integers(0, 5)),
        "min_delta": [0, 0.02][run % 2],
        "baseline": baseline,
        "mode": ["min", "max"][run % 5 == 0],
        "start_from_epoch": run % 4,
        "restore_best_weights": True,
    }


def plateau(run):
    rng = np.random.default_rng(500 + run)
    return {
        "patience": int(rng.integers(0, 4)),
        "factor": 0.5,
        "cooldown": int(rng.integers(0, 3)),
        "min_lr": [0.0, 0.02][run % 2],
        "min_delta": 0.01,
        "mode": ["min", "max"][run % 5 == 0],
    }
