"""One torch call -> the source text of an expression: how it is spelt, and where parentheses are needed."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, replace

from converters.graph import Call, Tree, Value
from migrate.blocks.activations import IN_PLACE
from migrate.emit.literals import literal
from migrate.emit.names import identifier

# Python's precedence, loosest first.
PRECEDENCE = {
    "|": 2, "^": 3, "&": 4, "==": 1, "!=": 1, "<": 1, "<=": 1, ">": 1, ">=": 1,
    "+": 6, "-": 6, "*": 7, "/": 7, "//": 7, "%": 7, "@": 7, "neg": 8, "~": 8, "**": 9,
}  # fmt: skip
ATOM = 10
LOOSEST = 0


@dataclass(frozen=True)
class Expression:
    """Source text, how tightly it binds, and the variables that it reads (once for each time).

    `whole`: the text of a call of which this is one output of several.
    """

    text: str
    precedence: int = ATOM
    reads: tuple[Value, ...] = ()
    depth: int = 0
    heavy: bool = False
    calls: tuple[Call, ...] = ()
    whole: str = ""

    def within(self, precedence: int) -> str:
        return self.text if self.precedence >= precedence else f"({self.text})"


@dataclass(frozen=True)
class Renderer:
    """Spells calls. `operand`: the expression of a value; `scratch`: values that an activation may overwrite."""

    attributes: Mapping[str, str]
    operand: Callable[[Value], Expression]
    scratch: Container[Value]

    def render(self, call: Call, heavy: bool) -> Expression:
        operands = [self.operand(v) for v in call.operands]
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
        arguments = [*map(self.tree, call.args), *(f"{k}={self._keyword(k, v)}" for k, v in call.kwargs.items())]
        if (
            call.kind == "function"
            and call.target in IN_PLACE
            and all(operand in self.scratch for operand in call.operands)
        ):
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
                return f"{text} if self.{call.target} else {self.tree(passed)}", LOOSEST
        return self._operator(call)

    def _operator(self, call: Call) -> tuple[str, int]:
        if call.target == "[]":
            key = call.args[1]
            inner = ", ".join(map(self.tree, key)) if isinstance(key, tuple) else self.tree(key)
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
        return f"torch.{identifier(value)}" if key == "dtype" and isinstance(value, str) else self.tree(value)

    def _tight(self, tree: Tree) -> str:
        return self._bound(tree, ATOM)

    def _bound(self, tree: Tree, precedence: int) -> str:
        if isinstance(tree, Value):
            return self.operand(tree).within(precedence)
        text = literal(tree)
        if not isinstance(tree, (int, float)):
            return text
        return f"({text})" if "/" in text or (tree < 0 and precedence > PRECEDENCE["neg"]) else text

    def tree(self, tree: Tree, top: bool = False) -> str:
        if isinstance(tree, Value):
            return self.operand(tree).text
        if isinstance(tree, slice):
            parts = ["" if p is None else self.tree(p) for p in (tree.start, tree.stop, tree.step)]
            return ":".join(parts if parts[2] else parts[:2])
        if isinstance(tree, dict):
            return "{" + ", ".join(f"{literal(k)}: {self.tree(v)}" for k, v in tree.items()) + "}"
        if isinstance(tree, list):
            return f"[{', '.join(map(self.tree, tree))}]"
        if isinstance(tree, tuple):
            inner = ", ".join(map(self.tree, tree)) + ("," if len(tree) == 1 else "")
            return inner if top else f"({inner})"
        return literal(tree)
