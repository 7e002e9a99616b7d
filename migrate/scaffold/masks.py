"""The masks that Keras sends along with outputs, written as a function of the inputs: losses and metrics obey them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converters.errors import Unsupported
from converters.graph import Call, Graph, Tree, Value, values
from migrate.emit.arguments import argument_names
from migrate.emit.body import Body
from migrate.lower import lower
from migrate.scaffold.plan import Plan, Port
from migrate.simplify.numbering import drop_dead, number_values

WAY_OUT = (
    "write a loss over the unmasked steps where train.py says TODO (scaffold --allow-todo), or take the mask out of "
    "the model"
)


def mask_function(plan: Plan, measured: Sequence[str]) -> list[str]:
    """The lines of `mask_of(inputs)`: the mask of the output, of several a list; none where no loss has to obey one.

    `measured`: the outputs that have a loss. Raises Unsupported for a mask that takes more than the inputs.
    """
    masked = [port for port in plan.outputs if port.masked and port.name in measured]
    if not masked:
        return []
    graph = _graph_of_masks(plan, measured)
    for port, mask in zip(plan.outputs, _listed(graph.outputs), strict=True):
        if mask is not None and (mask.rank != len(port.keras_shape) - 1 or port.permute != (*range(mask.rank + 1),)):
            raise _refusal(port, "it is not one for each step")
    if any(_needs_the_model(call) for call in graph.nodes if isinstance(call, Call)):
        raise _refusal(masked[0], "it is made by layers with weights")
    arguments = argument_names(graph)
    several = len(plan.outputs) > 1
    result = "list[Tensor | None]" if several else "Tensor"
    return [
        f"def mask_of({', '.join(f'{name}: Tensor' for name in arguments)}) -> {result}:",
        f'    """Which steps count in loss and metrics{", for each output" if several else ""}: Keras\' masks."""',
        *(f"    {statement.text}" for statement in Body(graph, {}, arguments, lambda value: "").write()),
    ]


def _graph_of_masks(plan: Plan, measured: Sequence[str]) -> Graph:
    """The model as it was lowered, its outputs replaced by their masks, and what makes these."""
    lowered = lower(plan.source, exact=plan.exact).graph
    pairs = zip(plan.outputs, values(lowered.outputs), strict=True)
    masks = [value.mask if port.name in measured else None for port, value in pairs]
    return drop_dead(number_values(replace(lowered, outputs=masks if len(masks) > 1 else masks[0])))


def _listed(outputs: Tree) -> list[Value | None]:
    return outputs if isinstance(outputs, list) else [outputs]


def _needs_the_model(call: Call) -> bool:
    return call.kind in ("module", "attribute") or call.target.startswith("local.")


def _refusal(port: Port, why: str) -> Unsupported:
    what = f"the mask (mask_zero=True or Masking) that reaches the output {port.name!r:.80}"
    return Unsupported(f"{what}: {why}", WAY_OUT)
