"""The cases, one file a family. A file holds CASES, a list of `case(...)` lines."""

from __future__ import annotations

import importlib
import pkgutil

from parity_tests.case import Case


def families() -> dict[str, list[Case]]:
    """Cases by family."""
    return {
        info.name: importlib.import_module(f"{__name__}.{info.name}").CASES for info in pkgutil.iter_modules(__path__)
    }
