"""The picture of the training parity: loss curves of Keras' `fit` and of the generated train.py.

    python -m parity_tests.curves [EPOCHS]       writes parity_tests/curves/curves.png and curves.json

Above: the same initial weights and batches, in float64. Below: how far the curves are apart, with --exact (rounding)
and without (where PyTorch's standard parts differ).
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

import migrate
from parity_tests import projects

SHOWN = {
    "mlp": "MLP, Adam",
    "cnn": "CNN, SGD, cosine",
    "recurrent": "BiLSTM + GRU, RMSprop",
    "text": "text LSTM, AdamW",
}
RUN = ("--precision", "float64", "--no-shuffle", "--validation-split", projects.SPLIT)
OUT = Path(__file__).parent / "curves"


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


def picture(found: dict[str, dict[str, list[float]]], path: Path) -> None:
    figure, rows = plt.subplots(2, len(found), figsize=(3.4 * len(found), 5.4), sharex=True)
    for column, (name, losses) in enumerate(found.items()):
        epochs = np.arange(1, len(losses["keras"]) + 1)
        above, below = rows[0][column], rows[1][column]
        above.plot(epochs, losses["keras"], color="tab:orange", linewidth=4, alpha=0.5, label="Keras fit")
        above.plot(epochs, losses["exact"], color="tab:blue", linewidth=1.2, label="PyTorch, --exact")
        above.plot(epochs, losses["plain"], color="black", linewidth=1, linestyle=":", label="PyTorch")
        above.set_title(SHOWN[name])
        for kind, colour in (("exact", "tab:blue"), ("plain", "black")):
            apart = np.abs(np.array(losses[kind]) - losses["keras"]) / np.abs(losses["keras"])
            below.semilogy(epochs, np.maximum(apart, 1e-17), color=colour, marker=".", label=kind)
        below.set_ylim(1e-17, 1)
        below.set_xlabel("epoch")
    rows[0][0].set_ylabel("training loss")
    rows[1][0].set_ylabel("relative difference from Keras")
    rows[0][0].legend(fontsize=8)
    rows[1][0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


def main(epochs: int = 8) -> None:
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        found = curves(Path(folder), epochs)
    (OUT / "curves.json").write_text(json.dumps(found, indent=1) + "\n")
    picture(found, OUT / "curves.png")
    for name, losses in found.items():
        apart = {k: max(abs(a - b) / abs(b) for a, b in zip(losses[k], losses["keras"], strict=True)) for k in losses}
        print(
            f"{SHOWN[name]}: relative difference of the loss {apart['exact']:.1e} --exact, {apart['plain']:.1e} without"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
