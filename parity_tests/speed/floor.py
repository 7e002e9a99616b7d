"""The least that any conversion must do: import torch, read every array of the file, write it as safetensors."""

import sys
import zipfile

import h5py
import numpy as np
import torch  # noqa: F401  # its import is part of the floor
from safetensors.numpy import save_file

arrays: dict[str, np.ndarray] = {}
with zipfile.ZipFile(sys.argv[1]) as archive, h5py.File(archive.open("model.weights.h5")) as file:
    file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
save_file(arrays, sys.argv[2])
