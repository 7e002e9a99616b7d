"""Loads the converted digits model as its README says, and compares its predictions with those that Keras made.

    python compare_digits.py PROJECT RECORDED.npz

Needs torch, safetensors and numpy only.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

ALLOWED = 1e-5  # of probabilities, in float32


def main(project: Path, recorded: Path) -> None:
    sys.path.insert(0, str(project))
    from model import DigitsCNN

    model = DigitsCNN()
    model.load_state_dict(load_file(project / "weights.safetensors"))
    model.eval()

    data = np.load(recorded)
    images = torch.from_numpy(data["images"]).permute(0, 3, 1, 2)  # Keras (N, 8, 8, 1) -> PyTorch (N, 1, 8, 8)
    with torch.no_grad():
        found = model(images).numpy()
    expected, labels = data["probabilities"], data["labels"]
    print("          right    first image")
    for name, probabilities in (("Keras", expected), ("PyTorch", found)):
        right = (probabilities.argmax(axis=1) == labels).mean()
        print(f"{name:8} {right:7.2%}    {np.array2string(probabilities[0], precision=4, suppress_small=True)}")
    same = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    worst = float(np.abs(found - expected).max())
    print(f"same digit for {same} of {len(labels)} images; largest difference of a probability {worst:.1e}")
    if same != len(labels) or worst > ALLOWED:
        sys.exit(f"the predictions differ: expected the same digits and at most {ALLOWED}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
