"""The handle of a submodule that a converter writes."""

from __future__ import annotations

from typing import Any

from converters.errors import UserError
from converters.graph import Tree
from converters.layer.recorder import Draft, Recorder
from converters.weights import Weight


class ModuleHandle:
    """A submodule of the emitted model. Call it to apply it."""

    def __init__(self, recorder: Recorder, draft: Draft, origin: str) -> None:
        self._recorder, self._draft, self._origin = recorder, draft, origin

    def load(self, **state: Weight | None) -> ModuleHandle:
        """Says which weight expression fills which tensor of the module's state dict; None fills nothing."""
        for name, weight in state.items():
            if weight is None:
                continue
            if self._draft.state.setdefault(name, weight) != weight:
                raise UserError(
                    f"{self._draft.key}: {name} would have to hold two different arrangements of one weight"
                )
        return self

    def freeze(self, *names: str) -> ModuleHandle:
        """These parameters do not learn, though the layer does."""
        self._draft.frozen.update(names)
        return self

    def keep_in_inference(self) -> ModuleHandle:
        """It stays in inference mode when the model trains, as a frozen BatchNormalization does."""
        self._draft.inference = True
        return self

    def comment(self, text: str) -> ModuleHandle:
        """What a reader has to know about it, above its line in `__init__`; equal ones are written once."""
        self._draft.comment = text
        return self

    def __call__(self, *args: Tree, **kwargs: Tree) -> Any:
        return self._recorder.call("module", self._draft.key, args, kwargs, self._origin)
