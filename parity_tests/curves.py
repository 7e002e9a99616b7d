"""The picture of the training parity: loss curves of Keras' `fit` and of the generated train.py.

    python -m parity_tests.curves       writes parity_tests/curves/curves.png and curves.json

Above: the same initial weights and batches, in float64. Middle: how far the curves are apart, with --exact (rounding)
and without (where PyTorch's standard parts differ). Below: free training, each framework from its own random weights
and in its own order, in float32: the accuracy at the end, on samples that neither has seen, over five seeds.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import migrate
from parity_tests import projects

SHOWN = {
    "mlp": "MLP, Adam",
    "cnn": "CNN, SGD, cosine",
    "recurrent": "BiLSTM + GRU, RMSprop",
    "text": "text LSTM, AdamW",
}
EPOCHS, FREE_EPOCHS, SEEDS = 8, 40, (1, 2, 3, 4, 5)
FREE_SPLIT = 0.8  # as in reference_fit.py
RUN = ("--precision", "float64", "--no-shuffle", "--validation-split", projects.SPLIT)
OUT = Path(__file__).parent / "curves"


def free(folder: Path) -> dict[str, dict[str, list[float]]]:
    """The last validation accuracies of each model by who trained it, one for each seed."""
    subprocess.run(
        [sys.executable, str(projects.REFERENCE), "--free", str(folder / "free"), *map(str, (FREE_EPOCHS, *SEEDS))],
        check=True, capture_output=True,
    )  # fmt: skip
    found: dict[str, dict[str, list[float]]] = {}
    for name in SHOWN:
        home, project = folder / "free" / name, folder / f"{name}_free"
        migrate.scaffold(home / "initial.keras", project)
        run = ("--data", home / "data", "--fresh", "--validation-split", FREE_SPLIT, "--epochs", FREE_EPOCHS)
        for seed in SEEDS:
            projects.run(project, "train.py", *run, "--seed", seed, "--output", f"run{seed}")
        keras = [json.loads((home / f"history_{seed}.json").read_text()) for seed in SEEDS]
        found[name] = {
            "keras": [history["val_accuracy"][-1] for history in keras],
            "pytorch": [projects.history(project / f"run{seed}")[-1]["val_accuracy"] for seed in SEEDS],
        }
    return found


def curves(folder: Path, epochs: int) -> dict[str, dict[str, list[float]]]:
    """The losses of each model by who computed them: keras, exact, plain."""
    reference = [sys.executable, str(projects.REFERENCE), str(folder / "keras"), str(epochs)]
    subprocess.run(reference, check=True, capture_output=True)
    found = {}
    for name in SHOWN:
        home = folder / "keras" / name
        found[name] = {"keras": json.loads((home / "history.json").read_text())["loss"]}
        for kind in ("exact", "plain"):
            project = folder / f"{name}_{kind}"
            migrate.scaffold(home / "initial.keras", project, exact=kind == "exact")
            projects.run(project, "train.py", "--data", home / "data", "--output", "run", "--epochs", epochs, *RUN)
            found[name][kind] = [logs["loss"] for logs in projects.history(project / "run")]
    return found


def picture(found: dict[str, dict[str, list[float]]], ends: dict[str, dict[str, list[float]]], path: Path) -> None:
    figure, rows = plt.subplots(3, len(found), figsize=(3.4 * len(found), 7.6))
    for column, (name, losses) in enumerate(found.items()):
        epochs = np.arange(1, len(losses["keras"]) + 1)
        above, middle, below = rows[:, column]
        above.plot(epochs, losses["keras"], color="tab:orange", linewidth=4, alpha=0.5, label="Keras fit")
        above.plot(epochs, losses["exact"], color="tab:blue", linewidth=1.2, label="PyTorch, --exact")
        above.plot(epochs, losses["plain"], color="black", linewidth=1, linestyle=":", label="PyTorch")
        above.set_title(SHOWN[name])
        for kind, colour in (("exact", "tab:blue"), ("plain", "black")):
            apart = np.abs(np.array(losses[kind]) - losses["keras"]) / np.abs(losses["keras"])
            middle.semilogy(epochs, np.maximum(apart, 1e-17), color=colour, marker=".", label=kind)
        middle.set_ylim(1e-17, 1)
        middle.set_xlabel("epoch")
        accuracies(below, ends[name])
    rows[0][0].set_ylabel("training loss")
    rows[1][0].set_ylabel("relative difference from Keras")
    rows[2][0].set_ylabel(f"accuracy after {FREE_EPOCHS} epochs\nof free training, five seeds")
    rows[0][0].legend(fontsize=8)
    rows[1][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def accuracies(axes: Axes, ends: dict[str, list[float]]) -> None:
    """A point for each seed, a line at the mean."""
    for place, (kind, colour) in enumerate((("keras", "tab:orange"), ("pytorch", "black"))):
        axes.plot(np.linspace(place - 0.15, place + 0.15, len(ends[kind])), ends[kind], "o", color=colour, alpha=0.7)
        axes.hlines(np.mean(ends[kind]), place - 0.3, place + 0.3, color=colour)
    axes.set_xticks([0, 1], ["Keras", "PyTorch"])
    axes.set_xlim(-0.6, 1.6)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found, ends = curves(Path(folder), EPOCHS), free(Path(folder))
    (OUT / "curves.json").write_text(json.dumps({"losses": found, "accuracies": ends}, indent=1) + "\n")
    picture(found, ends, OUT / "curves.png")
    for name, losses in found.items():
        apart = {k: max(abs(a - b) / abs(b) for a, b in zip(losses[k], losses["keras"], strict=True)) for k in losses}
        mean = {kind: f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for kind, values in ends[name].items()}
        print(f"{SHOWN[name]}: the loss differs by {apart['exact']:.1e} with --exact, {apart['plain']:.1e} without")
        print(f"  accuracy after free training: Keras {mean['keras']}, PyTorch {mean['pytorch']}")


if __name__ == "__main__":
    main()
