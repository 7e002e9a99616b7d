"""Config keys that no forward pass needs. The training side owns them: what they say about initialization,
regularization and constraints belongs to the training project."""

TRAINING_KEYS = frozenset(
    {
        # what every layer has
        "name", "trainable", "dtype", "autocast", "activity_regularizer", "build_input_shape", "seed",
        # how weights start, what is added to the loss, what holds after each step
        *(
            f"{weight}_{kind}"
            for weight in (
                "kernel", "bias", "recurrent", "depthwise", "pointwise", "embeddings", "gamma", "beta", "alpha",
                "moving_mean", "moving_variance",
            )
            for kind in ("initializer", "regularizer", "constraint")
        ),
        "unit_forget_bias",
    }
)  # fmt: skip
