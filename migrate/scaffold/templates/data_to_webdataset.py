"""TFRecord files -> a WebDataset, once: python to_webdataset.py data train.tar

A tar file with one member a feature: 000000007.image.jpg, 000000007.label.cls. The library `webdataset` reads it.
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np

from data import parsed, records

SUFFIXES = {b"\xff\xd8": "jpg", b"\x89P": "png", b"GI": "gif", b"BM": "bmp"}  # by the first two bytes


def members(features: dict[str, np.ndarray | list[bytes]]) -> dict[str, bytes]:
    """The files of one sample by the end of their names: images as they are, a number as text, arrays as .npy."""
    made = {}
    for name, feature in features.items():
        key = name.replace("/", "_").replace(".", "_")
        if isinstance(feature, list):
            for number, data in enumerate(feature):
                place = key if len(feature) == 1 else f"{key}_{number}"
                made[f"{place}.{SUFFIXES.get(data[:2], 'bin')}"] = data
        elif feature.size == 1 and feature.dtype == np.int64:
            made[f"{key}.cls"] = str(int(feature[0])).encode()
        else:
            stream = io.BytesIO()
            np.save(stream, feature)
            made[f"{key}.npy"] = stream.getvalue()
    return made


def convert(path: Path, target: Path) -> int:
    """Writes all records below a path; how many there were."""
    found = records(path)
    with tarfile.open(target, "w") as tar:
        for number, (file, offset, length) in enumerate(found):
            with file.open("rb") as stream:
                stream.seek(offset)
                features = parsed(stream.read(length))
            for suffix, data in sorted(members(features).items()):
                entry = tarfile.TarInfo(f"{number:09}.{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return len(found)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    print(f"{sys.argv[2]}: {convert(Path(sys.argv[1]), Path(sys.argv[2]))} samples")
