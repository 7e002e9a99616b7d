"""Calls -> the statements of `forward`. The one emitter of statements, for models and blocks alike.

A value that is used once is written into the expression that uses it, as far as a line reads well: one
layer with weights a line, what follows it around it. A name is reused as soon as its value is dead.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from converters.graph import Call, Graph, Module, Tree, Value, leaves, map_tree, values
from migrate.blocks.activations import IN_PLACE, makes_scratch
from migrate.blocks.canonical import one_use_each
from migrate.emit.literals import literal
from migrate.emit.names import identifier, unique

# What people call the outputs of modules that have several; the first is named as any other value.
OUTPUTS = {
    "LSTM": ("", "h", "c"), "GRU": ("", "h"), "RNN": ("", "h"),
    "StepwiseLSTM": ("", "h", "c"), "StepwiseGRU": ("", "h"), "StepwiseRNN": ("", "h"),
    "DropoutLSTM": ("", "h", "c"), "DropoutGRU": ("", "h"), "DropoutRNN": ("", "h"),
    "ConvLSTM": ("", "h", "c"), "DropoutConvLSTM": ("", "h", "c"),
}  # fmt: skip
# What is made of a mask.
MASKS = {"~": "padding", "flip": "reversed_mask"}
# What a variable is called after what was done to it, where `x` and `y` are taken.
DEEDS = {
    "F.pad": "padded", "F.max_pool2d": "pooled", "F.avg_pool2d": "pooled", "F.relu": "relu",
    "F.interpolate": "upsampled",
}  # fmt: skip
PREVIOUS = "previous"  # the second argument of blocks that read the two before them
BRANCHES_AT_LEAST = 3
JOINS = {"torch.cat", "+", "*"}
LINE_LENGTH = 120
EXPRESSION_AT_MOST = 96  # columns of an expression before it is broken up
NESTING_AT_MOST = 5
DEEP = 3  # calls within each other
SMALL = 2  # modules of a block that may stand within an expression
# Python's precedence, loosest first.
PRECEDENCE = {
    "|": 2, "^": 3, "&": 4, "==": 1, "!=": 1, "<": 1, "<=": 1, ">": 1, ">=": 1,
    "+": 6, "-": 6, "*": 7, "/": 7, "//": 7, "%": 7, "@": 7, "neg": 8, "~": 8, "**": 9,
}  # fmt: skip
ATOM = 10
LOOSEST = 0


@dataclass(frozen=True)
class Expression:
    """Source text, how tightly it binds, and the variables that it reads (once for each time)."""

    text: str
    precedence: int = ATOM
    reads: tuple[Value, ...] = ()
    depth: int = 0
    heavy: bool = False
    calls: tuple[Call, ...] = ()

    def within(self, precedence: int) -> str:
        return self.text if self.precedence >= precedence else f"({self.text})"


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

    def __post_init__(self) -> None:
        self.modules: dict[str, Module] = {module.key: module for module in self.graph.modules}
        self.calls, self.outputs = one_use_each(self.graph), self.graph.outputs
        self.uses = Counter(v for call in self.calls for v in call.operands) + Counter(values(self.outputs))
        self.scratch = set(self._scratch())
        self.functions = {call.target.removeprefix("local.") for call in self.calls if call.kind == "function"}
        self.branches = dict(_branches(self.calls))
        self.second = {call.operands[1] for call in self.calls if self._is_block(call) and len(call.operands) == 2}
        self.pending: dict[Value, Expression] = {}
        self.padded: dict[Value, Expression] = {}  # what stands within a padding
        self.names: dict[Value, str] = dict(zip(values(self.graph.inputs), self.arguments, strict=True))
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
                return replace(expression, text=expression.within(ATOM) + path, precedence=ATOM)
        raise AssertionError("an output is not among a call's outputs")

    def _assign(self, value: Value, expression: Expression) -> None:
        self._release(expression)
        if (before := self._moves_on(expression)) is not None:
            self.names |= {value: "x", before: PREVIOUS}
            self._state(f"x, {PREVIOUS} = {expression.text}, x", expression, value)
            return
        name = self.names[value] = self._name(value, expression)
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
        self._release(expression)
        module = self.modules.get(call.target) if call.kind == "module" else None
        known = OUTPUTS.get(module.constructor.rpartition(".")[2], ()) if module is not None else ()
        for value, wanted in zip_longest(values(call.outputs), known, fillvalue=""):
            if value in used:
                self.names[value] = self._name(value, expression, wanted)
        targets = map_tree(lambda leaf: self.names.get(leaf, "_"), call.outputs)
        first = None if known and used[0] != call.outputs[0] else used[0]  # states have no batch in front
        self._state(f"{_targets(targets)} = {expression.text}", expression, first)

    def _state(self, text: str, expression: Expression, value: Value | None) -> None:
        note = self.comment(value) if value is not None else ""
        if note and note not in self.shown:
            text += f"  # {note}"
        self.shown = {note}
        self.statements.append(Statement(text, expression.calls))

    def _return(self) -> None:
        read = values(self.outputs)
        calls = tuple(call for value in read for call in self._operand(value).calls)
        text = self._tree(self.outputs, top=True)
        self.statements.append(Statement(f"return {text}", calls))

    # -- names -------------------------------------------------------------------------------------------

    def _release(self, expression: Expression) -> None:
        """Variables that were read for the last time free their names."""
        for value in expression.reads:
            self.uses[value] -= 1
            if not self.uses[value]:
                self.names.pop(value, None)

    def _name(self, value: Value, expression: Expression, wanted: str = "") -> str:
        # What an argument is called says what it is: nothing else gets that name, even if the argument is read no more.
        taken = {*self.names.values(), *self.functions, *(name for name in self.arguments if name != "x")}
        taken -= self._continued(expression)
        role = wanted or self._role(value, expression)
        named = self._deed(expression) or identifier(_maker(expression, self.attributes))
        plain = (PREVIOUS, "x") if PREVIOUS in self.arguments else ("x", "y")
        candidates = (role,) if role else filter(None, (*plain, named))
        return next((name for name in candidates if name not in taken), None) or unique(role or named or "x", taken)

    def _continued(self, expression: Expression) -> set[str]:
        """An argument that nobody reads any more, where what is made is made of it alone: it keeps its name."""
        dead = [v for v in set(expression.reads) if not self.uses[v]]
        alone = len(expression.reads) == 1 and dead and dead == values(self.graph.inputs)[1:2]
        return {PREVIOUS} if alone and PREVIOUS in self.arguments else set()

    def _deed(self, expression: Expression) -> str:
        """What was done to a variable that is read again later: `x_padded`."""
        last = expression.calls[-1] if expression.calls else None
        if last is None or last.target not in DEEDS:
            return ""
        direct = (
            DEEDS[last.target] != "pooled"
            and len(expression.calls) == 1
            and len(expression.reads) == 1
            and expression.reads[0] in self.names
        )
        return f"{self.names[expression.reads[0]]}_{DEEDS[last.target]}" if direct else DEEDS[last.target]

    def _role(self, value: Value, expression: Expression) -> str:
        """What a value is for, where that is plain to see."""
        if value.dtype == "bool":
            turned = any(self.names.get(v, "").startswith("reversed") for v in expression.reads)
            role = MASKS.get(expression.calls[-1].target, "mask")
            return f"reversed_{role}" if turned and role == MASKS["~"] else role
        last = expression.calls[-1]
        if (place := self.branches.get(value)) and (self.uses[value] == 1 or last.target in JOINS):
            return f"branch{place}"
        made_by = self.attributes[last.target] if last.kind == "module" else ""
        return made_by if re.fullmatch(r"branch\d+", made_by) else ""

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
            if waits is not None and ((heavy and waits.heavy) or (call.target == "torch.cat" and self._is_deep(waits))):
                self._settle(operand)
        expression = self._render(call, heavy)
        room = self._room(call)
        while len(expression.text) > room or expression.depth > NESTING_AT_MOST:
            waiting = [v for v in call.operands if v in self.pending and self.pending[v].calls]
            if not waiting:
                break
            longest = max(waiting, key=lambda v: len(self.pending[v].text))
            if len(self.pending[longest].text) < 12 and expression.depth <= NESTING_AT_MOST:
                break
            self._settle(longest)
            expression = self._render(call, heavy)
        for operand in call.operands:
            before = self.pending.pop(operand, None)
            if before is not None and self._pads(call):
                self.padded[operand] = before
        return expression

    def _settle(self, value: Value) -> None:
        """A variable for what waits to be written into an expression; zeros around it stay with what reads them."""
        expression = self.pending.pop(value)
        call = expression.calls[-1]
        inside = call.operands[0] if call.operands else value
        if not self._pads(call) or inside not in self.padded:
            self._assign(value, expression)
            return
        self._assign(inside, self.padded.pop(inside))
        self.pending[value] = self._render(call, heavy=False)

    def _pads(self, call: Call) -> bool:
        return call.target == "F.pad" or (
            call.kind == "module" and self.modules[call.target].constructor == "nn.ZeroPad2d"
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

    def _render(self, call: Call, heavy: bool) -> Expression:
        operands = [self._operand(v) for v in call.operands]
        text, precedence = self._text(call)
        return Expression(
            text,
            precedence,
            tuple(read for operand in operands for read in operand.reads),
            1 + max((operand.depth for operand in operands), default=0),
            heavy or any(operand.heavy for operand in operands),
            (*(c for operand in operands for c in operand.calls), call),
        )

    def _text(self, call: Call) -> tuple[str, int]:
        arguments = [*map(self._tree, call.args), *(f"{k}={self._keyword(k, v)}" for k, v in call.kwargs.items())]
        if call.kind == "function" and call.target in IN_PLACE and self.scratch.issuperset(call.operands):
            arguments.append("inplace=True")
        match call.kind:
            case "module":
                return f"self.{self.attributes[call.target]}({', '.join(arguments)})", ATOM
            case "attribute":
                return f"self.{self.attributes[call.target]}", ATOM
            case "function":
                return f"{call.target.removeprefix('local.')}({', '.join(arguments)})", ATOM
            case "method":
                return f"{self._tight(call.args[0])}.{call.target}({', '.join(arguments[1:])})", ATOM
            case "size":
                return f"{self._tight(call.args[0])}.shape[{call.target}]", ATOM
            case "optional":
                passed, kind, target, args, kwargs = call.args
                text, _ = self._text(replace(call, kind=kind, target=target, args=args, kwargs=kwargs))
                return f"{text} if self.{call.target} else {self._tree(passed)}", LOOSEST
        return self._operator(call)

    def _operator(self, call: Call) -> tuple[str, int]:
        if call.target == "[]":
            key = call.args[1]
            inner = ", ".join(map(self._tree, key)) if isinstance(key, tuple) else self._tree(key)
            return f"{self._tight(call.args[0])}[{inner}]", ATOM
        precedence = PRECEDENCE[call.target]
        if len(call.args) == 1:
            sign = "-" if call.target == "neg" else call.target
            return f"{sign}{self._bound(call.args[0], precedence)}", precedence
        left, right = call.args
        # Comparisons chain and powers group to the right: both get parentheses on the left.
        loose = precedence + (call.target == "**" or precedence == 1)
        return f"{self._bound(left, loose)} {call.target} {self._bound(right, precedence + 1)}", precedence

    def _keyword(self, key: str, value: Tree) -> str:
        return f"torch.{identifier(value)}" if key == "dtype" and isinstance(value, str) else self._tree(value)

    def _tight(self, tree: Tree) -> str:
        return self._bound(tree, ATOM)

    def _bound(self, tree: Tree, precedence: int) -> str:
        if isinstance(tree, Value):
            return self._operand(tree).within(precedence)
        text = literal(tree)
        if not isinstance(tree, (int, float)):
            return text
        return f"({text})" if "/" in text or (tree < 0 and precedence > PRECEDENCE["neg"]) else text

    def _tree(self, tree: Tree, top: bool = False) -> str:
        if isinstance(tree, Value):
            return self._operand(tree).text
        if isinstance(tree, slice):
            parts = ["" if p is None else self._tree(p) for p in (tree.start, tree.stop, tree.step)]
            return ":".join(parts if parts[2] else parts[:2])
        if isinstance(tree, dict):
            return "{" + ", ".join(f"{literal(k)}: {self._tree(v)}" for k, v in tree.items()) + "}"
        if isinstance(tree, list):
            return f"[{', '.join(map(self._tree, tree))}]"
        if isinstance(tree, tuple):
            inner = ", ".join(map(self._tree, tree)) + ("," if len(tree) == 1 else "")
            return inner if top else f"({inner})"
        return literal(tree)


def _layers(part: Module) -> int:
    """How many layers with a matrix of weights a part of a block has; of copies of one, two."""
    if part.graph is not None and part.graph.sequential:
        return sum(map(_layers, part.graph.modules)) * (2 if part.kwargs else 1)
    return any(weight.rank > 1 for weight in part.state.values())


def _branches(calls: Iterable[Call]) -> Iterator[tuple[Value, int]]:
    """Values that are put side by side, and the place of each."""
    for call in calls:
        if call.target == "torch.cat" and len(call.operands) >= BRANCHES_AT_LEAST:
            yield from ((value, place) for place, value in enumerate(call.operands, 1))


def _maker(expression: Expression, attributes: Mapping[str, str]) -> str:
    """What made a value: the one part of a layer that it comes from (`gate`), else the last layer."""
    if expression.calls and expression.calls[-1].target == "F.scaled_dot_product_attention":
        return "attended"
    parts = [
        call.target.rpartition(":")[2] for call in expression.calls if call.kind == "module" and ":" in call.target
    ]
    last = expression.calls[-1].origin.rpartition("/")[2] if expression.calls else ""
    if not last and expression.calls and expression.calls[-1].target == "+":
        return "total"
    made = [attributes[call.target] for call in expression.calls if call.kind == "module"]
    return parts[0] if len(parts) == 1 and last else last or (made[-1] if made else "")


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
