"""Calls -> the statements of `forward`. The one emitter of statements, for models and blocks alike.

A value that is used once is written into the expression that uses it, as far as a line reads well: one
layer with weights a line, what follows it around it. A name is reused as soon as its value is dead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from converters.graph import Call, Graph, Module, Tree, Value, leaves, map_tree, values
from migrate.blocks.activations import IN_PLACE, OVERWRITING, makes_scratch
from migrate.blocks.activations import PADDINGS as ZERO_PADS
from migrate.blocks.branches import is_wide
from migrate.blocks.canonical import one_use_each
from migrate.emit.arguments import argument_names
from migrate.emit.expression import ATOM, Expression, Renderer
from migrate.emit.shapes import shape_text
from migrate.emit.variables import JOINS, PREVIOUS, Variables, branches_of

# What people call the outputs of modules that have several; the first is named as any other value.
OUTPUTS = {
    "LSTM": ("", "h", "c"), "GRU": ("", "h"), "RNN": ("", "h"),
    "StepwiseLSTM": ("", "h", "c"), "StepwiseGRU": ("", "h"), "StepwiseRNN": ("", "h"),
    "DropoutLSTM": ("", "h", "c"), "DropoutGRU": ("", "h"), "DropoutRNN": ("", "h"),
    "ConvLSTM": ("", "h", "c"), "DropoutConvLSTM": ("", "h", "c"), "MaskedBidirectional": ("", "last"),
}  # fmt: skip
ACTIVATIONS = {*IN_PLACE, "F.gelu", "F.selu", "F.mish", "F.softplus", "F.hardsigmoid", "tanh", "sigmoid"}
POOLINGS = {"F.max_pool1d", "F.max_pool2d", "F.avg_pool1d", "F.avg_pool2d", "local.max_pool_same"}
PADDINGS = {"F.pad", "F.interpolate", "local.pad_image", "local.pad_same"}
LINE_LENGTH = 120
EXPRESSION_AT_MOST = 96  # columns of an expression before it is broken up
NESTING_AT_MOST = 5
DEEP = 3  # calls within each other
PAIR = 2  # outputs of a module, of which one may be dropped by name: `x, _ = ...`
SMALL = 2  # modules of a block that may stand within an expression


@dataclass(frozen=True)
class Statement:
    """One line of `forward` before formatting, and the calls that it makes."""

    text: str
    calls: tuple[Call, ...]


@dataclass
class Body:
    """The statements of one `forward`, being written."""

    graph: Graph
    attributes: Mapping[str, str]
    arguments: list[str]
    comment: Callable[[Value], str]
    optional: Container[str] = ()  # modules that may be nn.Identity, which hands its input on
    statements: list[Statement] = field(default_factory=list)

    @classmethod
    def of(cls, graph: Graph, attributes: Mapping[str, str]) -> Body:
        """Of a model, whose sizes are known."""
        return cls(graph, attributes, argument_names(graph), shape_text)

    def __post_init__(self) -> None:
        self.modules: dict[str, Module] = {module.key: module for module in self.graph.modules}
        self.calls, self.outputs = one_use_each(self.graph), self.graph.outputs
        self.uses = Counter(v for call in self.calls for v in call.operands) + Counter(values(self.outputs))
        self.scratch = set(self._scratch())
        functions = {call.target.removeprefix("local.") for call in self.calls if call.kind == "function"}
        self.branches = dict(branches_of(self.calls))
        self.second = {call.operands[1] for call in self.calls if self._is_block(call) and len(call.operands) == 2}
        self.pending: dict[Value, Expression] = {}
        self.within: dict[Value, Expression] = {}  # what stands within another expression
        self.makers = {value: call for call in self.calls for value in values(call.outputs)}
        self.alone = {value for value, count in self.uses.items() if count == 1} - set(values(self.graph.inputs))
        self.variables = Variables(self.graph, self.attributes, self.arguments, functions, self.uses, self.branches)
        self.names = self.variables.names
        self.renderer = Renderer(self.attributes, self._operand, self.scratch)
        self.called: dict[Value, str] = dict(self.names)  # every name that was given, also of what is read no more
        self.shown = {self.comment(v) for v in values(self.graph.inputs)}

    def _scratch(self) -> Iterator[Value]:
        """Fresh tensors that one call reads and no gradient needs: a normalization keeps its input, a sum nothing."""
        for call in self.calls:
            fresh = call.kind == "operator" and call.target == "+"
            if call.kind == "module" and call.target not in self.optional:
                fresh = makes_scratch(self.modules[call.target])
            if fresh and isinstance(call.outputs, Value) and self.uses[call.outputs] == 1:
                yield call.outputs

    def write(self) -> list[Statement]:
        for call in self.calls:
            self._call(call)
        self._return()
        return self.statements

    # -- statements --------------------------------------------------------------------------------------

    def _call(self, call: Call) -> None:
        expression = self._expression(call)
        used = [value for value in values(call.outputs) if self.uses[value]]
        if len(used) == 1 and self.uses[used[0]] == 1 and not self._is_joined_branch(call):
            self.pending[used[0]] = self._pick(call, used[0], expression)
        elif len(used) == 1 and used[0] == next(iter(values(call.outputs)), None):
            self._assign(used[0], self._pick(call, used[0], expression))
        elif used:
            self._unpack(call, used, expression)

    def _is_joined_branch(self, call: Call) -> bool:
        """Whether a call puts together what is one of several branches then: a line of its own."""
        return call.target in JOINS and call.outputs in self.branches

    def _pick(self, call: Call, value: Value, expression: Expression) -> Expression:
        """The one output that matters of a call that has several."""
        if isinstance(call.outputs, Value):
            return expression
        for path, leaf in _paths(call.outputs):
            if leaf == value:
                text = expression.within(ATOM)
                whole = text if call.kind == "module" and len(call.outputs) == PAIR else ""
                return replace(expression, text=text + path, precedence=ATOM, whole=whole)
        raise AssertionError("an output is not among a call's outputs")

    def _assign(self, value: Value, expression: Expression) -> None:
        if expression.whole:
            self._unpack(expression.calls[-1], [value], replace(expression, text=expression.whole))
            return
        self.variables.release(expression)
        if (before := self._moves_on(expression)) is not None:
            self.names |= {value: "x", before: PREVIOUS}
            self._state(f"x, {PREVIOUS} = {expression.text}, x", expression, value)
            return
        name = self.names[value] = self.variables.name(value, expression)
        self._state(f"{name} = {expression.text}", expression, value)

    def _moves_on(self, expression: Expression) -> Value | None:
        """What a block was made of, if it is called `x` and is the second thing that a later block reads."""
        last = expression.calls[-1]
        before = last.operands[0] if last.operands and self._is_block(last) else None
        if before is None or self.names.get(before) != "x" or before not in self.second:
            return None
        return before if PREVIOUS not in self.names.values() and self.uses[before] == 1 else None

    def _is_block(self, call: Call) -> bool:
        graph = self.modules[call.target].graph if call.kind == "module" else None
        return graph is not None and graph.block is not None

    def _unpack(self, call: Call, used: list[Value], expression: Expression) -> None:
        self.variables.release(expression)
        module = self.modules.get(call.target) if call.kind == "module" else None
        known = OUTPUTS.get(module.constructor.rpartition(".")[2], ()) if module is not None else ()
        for value, wanted in zip_longest(values(call.outputs), known, fillvalue=""):
            if value in used:
                self.names[value] = self.variables.name(value, expression, wanted)
        targets = map_tree(lambda leaf: self.names.get(leaf, "_"), call.outputs)
        first = used[0] if used[0].rank and used[0].sizes[0] is None else None  # states have no batch in front
        self._state(f"{_targets(targets)} = {expression.text}", expression, first)

    def _state(self, text: str, expression: Expression, value: Value | None) -> None:
        """A statement, with the shape of what it makes where that changes.

        A variable that goes on has its own shape before; a new one that of what it is made of, or of the line above.
        """
        note = self.comment(value) if value is not None else ""
        name = self.names.get(value, "") if value is not None else ""
        known = {self.comment(v) for v in expression.reads if self.called.get(v) == name}
        known = known or {*(self.comment(v) for v in expression.reads), *self.shown}
        if note and note not in known:
            text += f"  # {note}"
        self.shown = {note}
        self.called.update(self.names)
        self.statements.append(Statement(text, tuple(self._all(expression.calls))))

    def _return(self) -> None:
        read = values(self.outputs)
        calls = tuple(call for value in read for call in self._operand(value).calls)
        text = self.renderer.tree(self.outputs, top=True)
        self.statements.append(Statement(f"return {text}", tuple(self._all(calls))))

    def _all(self, calls: Iterable[Call]) -> Iterator[Call]:
        """Calls, and those within a nested model that is written as an nn.Sequential: they have no other line."""
        for call in calls:
            yield call
            inner = self.modules[call.target] if call.kind == "module" else None
            if inner is not None and inner.graph is not None and inner.graph.sequential and inner.origin:
                yield from inner.graph.nodes  # type: ignore[misc]  # calls by now

    # -- expressions -------------------------------------------------------------------------------------

    def _operand(self, value: Value) -> Expression:
        if value in self.pending:
            return self.pending[value]
        return Expression(self.names[value], reads=(value,))

    def _expression(self, call: Call) -> Expression:
        """The expression of a call; operands that would make it hard to read become variables first."""
        heavy = self._is_heavy(call)
        for operand in call.operands:
            waits = self.pending.get(operand)
            if waits is not None and (
                (heavy and waits.heavy)
                or (call.target == "torch.cat" and self._is_deep(waits))
                or self._ends_line(operand, call)
            ):
                self._settle(operand)
        expression = self.renderer.render(call, heavy)
        room = self._room(call)
        if is_wide(call) and len(expression.text) > room:
            for operand in call.operands:  # a line for each, in order
                if operand in self.pending and self.pending[operand].calls:
                    self._settle(operand)
            expression = self.renderer.render(call, heavy)
        while len(expression.text) > room or expression.depth > NESTING_AT_MOST:
            waiting = [v for v in call.operands if v in self.pending and self.pending[v].calls]
            if not waiting:
                break
            longest = max(waiting, key=lambda v: len(self.pending[v].text))
            if len(self.pending[longest].text) < 12 and expression.depth <= NESTING_AT_MOST:
                break
            self._settle(longest, call)
            expression = self.renderer.render(call, heavy)
        for operand in call.operands:
            if operand in self.pending:
                self.within[operand] = self.pending.pop(operand)
        return expression

    def _settle(self, value: Value, reader: Call | None = None) -> None:
        """A variable for what waits to be written into an expression, or for the part of it up to a better place."""
        cut = self._cut(value, reader)
        expression = self.pending.pop(value)
        if cut == value:
            self._assign(value, expression)
            return
        self._assign(cut, self.within.pop(cut))
        for call in self._chain(cut, value):
            self.pending[call.outputs] = self.renderer.render(call, self._is_heavy(call))
            if call.operands[0] in self.pending:
                self.within[call.operands[0]] = self.pending.pop(call.operands[0])

    def _cut(self, value: Value, reader: Call | None) -> Value:
        """Where to cut an expression: a layer stays with its normalization and activation, and what pads with it."""
        cut = value
        if reader is not None and self._belongs(reader):
            while self._belongs(self.makers[cut]) and self._inside(cut) is not None:
                cut = self.makers[cut].operands[0]
            layer = self.makers[cut]
            inside = self._inside(cut) if layer.kind == "module" and self._has_matrix(layer) else None
            cut = inside or value
        return (self._inside(cut) if self._pads(self.makers[cut]) else None) or cut

    def _inside(self, value: Value) -> Value | None:
        """What the maker of a value reads, if it is one thing that is written into the same expression."""
        read = self.makers[value].operands
        return read[0] if len(read) == 1 and read[0] in self.within else None

    def _chain(self, first: Value, last: Value) -> list[Call]:
        """The calls that make one value of another, each reading one thing."""
        calls = []
        while last != first:
            calls.append(self.makers[last])
            last = self.makers[last].operands[0]
        return calls[::-1]

    def _belongs(self, call: Call) -> bool:
        """Whether a call is the normalization or activation of the layer before it."""
        if len(call.operands) != 1:
            return False
        if call.kind != "module":
            return call.target in ACTIVATIONS
        module = self.modules[call.target]
        return module.graph is None and ("Norm" in module.constructor or module.constructor in OVERWRITING)

    def _has_matrix(self, call: Call) -> bool:
        return any(weight.rank > 1 for weight in self.modules[call.target].state.values())

    def _ends_line(self, value: Value, reader: Call) -> bool:
        """Whether a value is a pooling, in a chain, that a layer with weights or a block reads: the line ends there."""
        pool = self.makers[value]
        if pool.target not in POOLINGS or not self.alone.issuperset(pool.operands) or reader.kind != "module":
            return False
        return self.modules[reader.target].graph is not None or self._has_matrix(reader)

    def _pads(self, call: Call) -> bool:
        """Whether a call puts zeros around its operand, or stretches it."""
        return call.target in PADDINGS or (
            call.kind == "module" and self.modules[call.target].constructor in ZERO_PADS.values()
        )

    def _is_deep(self, expression: Expression) -> bool:
        """Whether a block stands in the midst of it: a line of its own, before it is put beside another value."""
        return expression.depth >= DEEP and any(map(self._is_block, expression.calls))

    def _room(self, call: Call) -> int:
        """How long an expression may be: with the comment of what it makes, it is still one line."""
        note = self.comment(call.outputs) if isinstance(call.outputs, Value) else ""
        around = 0 if note in self.shown else len(f"        x =   # {note}")
        return min(EXPRESSION_AT_MOST, LINE_LENGTH - around)

    def _is_heavy(self, call: Call) -> bool:
        """Whether a call deserves a line of its own: a nested model, or a layer with a matrix of weights."""
        if call.kind != "module":
            return False
        module = self.modules[call.target]
        if module.graph is not None and module.graph.block is not None and not module.graph.block.template.models:
            unit = module.graph.block.template.graph
            layers = sum(_layers(part) for part in unit.modules)
            chain = all(len(call.operands) == 1 for call in unit.nodes if isinstance(call, Call))
            return len(unit.modules) > SMALL or (chain and layers > 1)
        return module.graph is not None or any(weight.rank > 1 for weight in module.state.values())


def _layers(part: Module) -> int:
    """How many layers with a matrix of weights a part of a block has; of copies of one, two."""
    if part.graph is not None and part.graph.sequential:
        return sum(map(_layers, part.graph.modules)) * (2 if part.kwargs else 1)
    return any(weight.rank > 1 for weight in part.state.values())


def _paths(tree: Tree, path: str = "") -> Iterable[tuple[str, Tree]]:
    """(index expression, leaf) of a nested tuple."""
    if isinstance(tree, (list, tuple)):
        for number, item in enumerate(tree):
            yield from _paths(item, f"{path}[{number}]")
    else:
        yield path, tree


def _targets(tree: Tree) -> str:
    if isinstance(tree, str):
        return tree
    if all(leaf == "_" for leaf in leaves(tree)):
        return "_"
    parts = [f"({_targets(t)})" if isinstance(t, (list, tuple)) and _targets(t) != "_" else _targets(t) for t in tree]
    return ", ".join(parts) + ("," if len(parts) == 1 else "")
