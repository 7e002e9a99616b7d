"""What an argument of a repeated block may be: a number, a parameter, or a short formula of parameters.

Nothing here is text of a model file: parameters have names that we choose, and everything else is an integer, or a
literal that `emit/literals.py` writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Environment = Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a block's constructor, used as it is."""

    name: str

    def evaluate(self, environment: Environment) -> Any:
        return environment[self.name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Scaled:
    """`times * name`, `name // over`, each with a number added."""

    name: str
    times: int = 1
    over: int = 1
    plus: int = 0

    def evaluate(self, environment: Environment) -> Any:
        value = environment[self.name]
        if isinstance(value, bool) or not isinstance(value, int):
            return None
        return self.times * value // self.over + self.plus

    def __str__(self) -> str:
        text = f"{self.times} * {self.name}" if self.times != 1 else self.name
        text += f" // {self.over}" if self.over != 1 else ""
        return text + (f" {'+' if self.plus > 0 else '-'} {abs(self.plus)}" if self.plus else "")


@dataclass(frozen=True)
class Product:
    """`one * other`, such as `in_channels * expansion`."""

    one: str
    other: str

    def evaluate(self, environment: Environment) -> Any:
        one, other = environment[self.one], environment[self.other]
        return one * other if type(one) is type(other) is int else None

    def __str__(self) -> str:
        return f"{self.one} * {self.other}"


@dataclass(frozen=True)
class Test:
    """`in_channels != out_channels`, `stride == 1`, or a flag alone."""

    left: str
    sign: str = ""
    right: str | int = ""

    def evaluate(self, environment: Environment) -> bool:
        left = environment[self.left]
        if not self.sign:
            return bool(left)
        right = environment[self.right] if isinstance(self.right, str) else self.right
        return bool(left == right) == (self.sign == "==")

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}" if self.sign else self.left


@dataclass(frozen=True)
class Either:
    """`stride != 1 or in_channels != out_channels`, or both of two tests."""

    one: Test
    sign: str
    other: Test

    def evaluate(self, environment: Environment) -> bool:
        one, other = self.one.evaluate(environment), self.other.evaluate(environment)
        return (one and other) if self.sign == "and" else (one or other)

    def __str__(self) -> str:
        return f"{self.one} {self.sign} {self.other}"


Condition = Test | Either


@dataclass(frozen=True)
class Choice:
    """`a if test else b`; the two sides are literals or formulas."""

    test: Condition
    then: Any
    other: Any

    def evaluate(self, environment: Environment) -> Any:
        return evaluate(self.then if self.test.evaluate(environment) else self.other, environment)


@dataclass(frozen=True)
class Share:
    """`0.2 * 3 / 16`: what block 3 of 16 has of something that grows with the depth of a network; or block `i`."""

    total: float
    number: int | str
    of: int

    @property
    def value(self) -> float:
        """As Python computes the text. Only of one block."""
        assert isinstance(self.number, int)
        return self.total * self.number / self.of

    def evaluate(self, environment: Environment) -> Any:
        return self.value

    def __str__(self) -> str:
        return f"{self.total} * {self.number} / {self.of}"


Formula = Parameter | Scaled | Product | Choice | Share
FORMULAS = (Parameter, Scaled, Product, Choice, Share)


def evaluate(tree: Any, environment: Environment) -> Any:
    """What a literal, formula, or tuple or list of them stands for."""
    if isinstance(tree, FORMULAS):
        return tree.evaluate(environment)
    if isinstance(tree, (tuple, list)):
        return type(tree)(evaluate(item, environment) for item in tree)
    if isinstance(tree, Mapping):
        return {key: evaluate(item, environment) for key, item in tree.items()}
    return tree
