"""Layers of Keras that have no converter yet: why, and the way out. An entry goes when its converter comes."""

from __future__ import annotations

YET = "a layer of Keras that tf2torch does not convert yet"
COPY = "new.set_weights(old.get_weights()), and save that"
AUGMENTS = "a layer of Keras that augments data, which tf2torch does not convert yet"
WITHOUT = f"it does nothing in inference: in Keras, build the model without it, {COPY}; augment in the data pipeline"
BEFORE = f"do it in the data pipeline: in Keras, build the model without it, {COPY}"
FOREIGN = "it holds a function or a model of another library, which is never run here"
LAYERS = "in Keras, replace it by built-in layers and save the model again"

_GROUPS: tuple[tuple[str, str, str], ...] = (
    (
        "AugMix CutMix MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast "
        "RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
        "RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear "
        "RandomTranslation RandomZoom RandomWidth RandomHeight",
        AUGMENTS,
        WITHOUT,
    ),
    (
        "AutoContrast CategoryEncoding ContrastLimitedAdaptiveHistogramEqualization Discretization "
        "Equalization HashedCrossing Hashing IntegerLookup MaxNumBoundingBoxes MelSpectrogram Pipeline "
        "Solarization STFTSpectrogram StringLookup TextVectorization",
        YET,
        BEFORE,
    ),
    (
        "CenterCrop RandomCrop Resizing",
        YET,
        f"in Keras, build the model with Cropping2D or keras.ops.image.resize in its place, {COPY}",
    ),
    (
        "SpectralNormalization",
        YET,
        "in inference it is the layer that it wraps: in Keras, build the model with that layer in its place, give it "
        "its kernel and bias, and save that",
    ),
    ("RMSNormalization ReversibleEmbedding", YET, "in Keras, write it with keras.ops, and save that"),
    ("FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper", FOREIGN, LAYERS),
)

REFUSED = {f"layers.{name}": (reason, way_out) for names, reason, way_out in _GROUPS for name in names.split()}
