"""What `--trainer lightning` does otherwise: its own callbacks where they are equal, and what it cannot carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converters.errors import UserError
from converters.training import Piece
from migrate.emit.literals import literal
from migrate.scaffold.expressions import render
from migrate.scaffold.training import Training


def for_lightning(training: Training) -> Training:
    """The training with its callbacks divided into Keras' and Lightning's. Raises UserError for what does not go."""
    _check(training)
    kept = [piece for piece in training.callbacks if _name(piece) != "TensorBoard"]  # there is a TensorBoardLogger
    own, equal = (tuple(piece for piece in kept if _is_equal(piece) is wanted) for wanted in (False, True))
    return replace(training, callbacks=own, lightning_callbacks=equal)


def _check(training: Training) -> None:
    names = {_name(piece) for piece in training.callbacks}
    every = any(dict(piece.expression.options).get("every") for piece in training.callbacks)
    vectors = [m.name for m in training.metrics if dict(m.piece.expression.options).get("average", "") is None]
    refused = {
        "gradient accumulation over the end of an epoch": training.optimizer.accumulate > 1,
        "the average of the weights (use_ema)": training.optimizer.average is not None,
        "MultiOptimizer": training.optimizer.class_name.endswith("MultiOptimizer"),
        "SwapEMAWeights": "SwapEMAWeights" in names,
        "ModelCheckpoint every few batches": every,
        f"the metric {', '.join(vectors)}, which has a value for each class": bool(vectors),
    }
    for what, found in refused.items():
        if found:
            raise UserError(f"{what}: not with --trainer lightning", remedy="take --trainer plain, which has it")


def lightning_places(places: Mapping[str, str], training: Training) -> dict[str, str]:
    """The places of train_lightning.py that differ from those of train.py."""
    return {
        "UPDATE_METRICS": places["UPDATE_METRICS"].replace("self.metrics", "metrics"),
        "SHARE": places["SHARE"].replace("accelerator.num_processes", "self.trainer.world_size"),
        "STOPS": "\n".join(f"{_equal(piece)}," for piece in training.lightning_callbacks),
        "CALLED": render(training.called.expression) if training.called is not None else "",
    }


def _name(piece: Piece) -> str:
    return str(piece.expression.target.rpartition(".")[2])


def _is_equal(piece: Piece) -> bool:
    """Whether Lightning's EarlyStopping has what is asked for."""
    given = dict(piece.expression.options)
    beyond = given.get("restore_best_weights") or given.get("start_from_epoch") or given.get("baseline") is not None
    return _name(piece) == "EarlyStopping" and not beyond


def _equal(piece: Piece) -> str:
    given = dict(piece.expression.options)
    kept = ", ".join(f"{key}={literal(given[key])}" for key in ("monitor", "mode", "min_delta", "patience"))
    return f"L.pytorch.callbacks.EarlyStopping({kept}, check_finite=False)"
