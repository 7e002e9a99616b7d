"""Blocks that follow each other and read more than the one before -> an nn.ModuleList, and a loop in `forward`.

No nn.Sequential can call them: `x, previous = cell(x, previous), x`, or `x = layer(x, mask)`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from converters.graph import Call, Graph
from migrate.emit.body import Body, Statement
from migrate.emit.shapes import shape_text

CALLS_AT_LEAST = 3
CALLED = re.compile(r"self\.([a-z_]\w*(?:\.\d+)?)\(")
PLAIN_CALL = re.compile(r"self\.\{\}\([^()]*\)")
NUMBERED = re.compile(r"([a-z_]+)\d+")


@dataclass(frozen=True)
class Run:
    """Statements from `first` up to `end` that differ only in which of `names` they call.

    `text`: of each, with `{}` for the name; `lead`: what the first of them does before its call, if anything; `rest`:
    what the one after does after one more of these calls.
    """

    first: int
    end: int
    names: tuple[str, ...]
    text: str
    lead: str = ""
    rest: str = ""


def listed(graph: Graph, attributes: Mapping[str, str], classes: Mapping[Graph, str]) -> dict[str, str]:
    """New names of what such loops call, by the keys of modules: `cells.0`, `cells.1`; none where users named them."""
    blocks = _blocks(graph)
    if len(blocks) < CALLS_AT_LEAST:
        return {}
    keys = {attributes[key]: key for key in blocks}
    order = [attributes[module.key] for module in graph.modules]
    taken, found = set(order), dict[str, str]()
    for run in _runs(Body.of(graph, attributes).write(), keys):
        name = _list_name(run.names, [classes[blocks[keys[one]]] for one in run.names])
        first = order.index(run.names[0])
        if name and name not in taken and tuple(order[first : first + len(run.names)]) == run.names:
            taken.add(name)
            found |= {keys[one]: f"{name}.{number}" for number, one in enumerate(run.names)}
    return found


def _blocks(graph: Graph) -> dict[str, Graph]:
    """The classes of what is called once, with several tensors, by the keys of modules."""
    called = [call for call in graph.nodes if isinstance(call, Call) and call.kind == "module"]
    several = [call.target for call in called if len(call.operands) > 1]
    uses = [module for module in graph.modules if module.graph is not None and module.graph.block is not None]
    return {
        module.key: module.graph.block.template.graph  # type: ignore[union-attr]  # as seen
        for module in uses
        if module.key in several and sum(call.target == module.key for call in called) == 1
    }


def _list_name(names: Sequence[str], classes: Sequence[str]) -> str:
    """`cells` for `cell1`, `cell2`, also where they are of a Cell and a ReductionCell; '' for other names."""
    found = [match[1] for name in names if (match := NUMBERED.fullmatch(name))]
    if len(found) < len(names):
        return ""
    words = {re.findall(r"[A-Z][a-z]*", name)[-1] for name in classes}
    kind = found[0] if len(set(found)) == 1 else words.pop().lower() if len(words) == 1 else "block"
    return f"{kind.rstrip('_')}s"


def folded(statements: list[Statement], attributes: Mapping[str, str]) -> list[Statement]:
    """The statements with a loop over each list in place of one call after the other."""
    lists = dict[str, list[str]]()
    for name in attributes.values():
        if name.partition(".")[2].isdigit():
            lists.setdefault(name.partition(".")[0], []).append(name)
    if not lists:
        return statements
    made, done = list[Statement](), 0
    for run in _runs(statements, {name for names in lists.values() for name in names}):
        if list(run.names) == lists[run.names[0].partition(".")[0]]:
            made += [*statements[done : run.first], *_loop(run, statements, attributes)]
            done = run.end + bool(run.rest)
    # A list that is not called in one run is called one by one.
    return [Statement(indexed(s.text), s.calls) for s in (*made, *statements[done:])]


def indexed(text: str) -> str:
    """`cells[0]` for `cells.0`."""
    return re.sub(r"\b([a-z_]\w*)\.(\d+)(?=\(|$)", r"\1[\2]", text)


def _loop(run: Run, statements: Sequence[Statement], attributes: Mapping[str, str]) -> Iterator[Statement]:
    items = run.names[0].partition(".")[0]
    item = items.removesuffix("s").rpartition("_")[2]
    if any(re.search(rf"\b{item}\b", statement.text) for statement in statements):
        item = "module"  # a variable has that name
    within = statements[run.first : run.end + bool(run.rest)]
    calls = [call for statement in within for call in statement.calls if _is_of(call, run, attributes)]
    made = [shape_text(call.outputs) for call in calls]
    note = statements[run.first].text.partition("  #")[2] if len(set(made)) == 1 else f" to {made[-1]}"
    if run.lead:
        own = tuple(call for call in within[0].calls if call not in calls)
        # A block that changes no shape: what is said of its output holds for what it reads.
        kept = f"  #{note}" if note and shape_text(calls[0].operands[0]) == made[-1] else ""
        yield Statement(run.lead + kept, own)
        note = "" if kept else note
    head = f"for {item} in self.{items}:" + (f"  #{note}" if note else "")
    yield Statement(f"{head}\n    {run.text.replace('self.{}(', f'{item}(')}", tuple(calls))
    target, _, value = run.rest.partition("  #")[0].partition(" = ")
    if run.rest and target != value:
        yield Statement(run.rest, tuple(call for call in within[-1].calls if call not in calls))


def _is_of(call: Call, run: Run, attributes: Mapping[str, str]) -> bool:
    return call.kind == "module" and attributes.get(call.target) in run.names


def _runs(statements: Sequence[Statement], names: Mapping[str, str] | set[str]) -> Iterator[Run]:
    """What can be a loop, in order."""
    shapes = [_shape(statement.text, names) for statement in statements]
    first = 0
    while first < len(shapes):
        text, name = shapes[first]
        same = list(takewhile(lambda shape, text=text: shape[0] == text, shapes[first:])) if name else []  # type: ignore[misc]
        end = first + len(same)
        if same:
            rest, last = _rest(text, statements[end].text if end < len(statements) else "", names)
            others = text.partition(" = ")[0].split(", ")[1:]  # the last call must not leave them as they are
            later = " ".join(statement.text for statement in statements[end + 1 :])
            if any(re.search(rf"\b{other}\b", later) for other in others):
                rest = last = ""
            lead, before = _lead(text, statements[first - 1].text if first else "", names)
            called = tuple(filter(None, (before, *(one for _, one in same), last)))
            if len(called) >= CALLS_AT_LEAST and len(set(called)) == len(called):
                yield Run(first - bool(lead), end, called, text, lead, rest)
        first = max(end, first + 1)


def _shape(text: str, names: Mapping[str, str] | set[str]) -> tuple[str, str]:
    """(`x = self.{}(x, mask)`, the name) of a statement that assigns what one of these makes; else two times ''."""
    text = text.partition("  #")[0]
    _, assigns, value = text.partition(" = ")
    called = CALLED.findall(text)
    if not assigns or len(called) != 1 or called[0] not in names or not value.startswith(f"self.{called[0]}("):
        return "", ""
    return text.replace(f"self.{called[0]}(", "self.{}("), called[0]


def _lead(text: str, before: str, names: Mapping[str, str] | set[str]) -> tuple[str, str]:
    """What the statement before a run does first if it ends with one more call; and which that calls."""
    target = text.partition(" = ")[0]
    before = before.partition("  #")[0]
    called = CALLED.match(before.removeprefix(f"{target} = "))
    if called is None or called[1] not in names or ", " in target:
        return "", ""
    start, end = text.replace("{}", called[1]).split(f"({target}", 1)
    if not before.startswith(f"{start}(") or not before.endswith(end):
        return "", ""
    given = before[len(start) + 1 : len(before) - len(end)]
    return (f"{target} = {given}", called[1]) if _is_one_argument(given) else ("", "")


def _is_one_argument(text: str) -> bool:
    """Whether a text is one positional argument of a call."""
    try:
        call = ast.parse(f"f({text})", mode="eval").body
    except SyntaxError:
        return False
    return isinstance(call, ast.Call) and len(call.args) == 1 and not call.keywords


def _rest(text: str, after: str, names: Mapping[str, str] | set[str]) -> tuple[str, str]:
    """What is left of the statement after a run if it begins with one more call; and which that calls."""
    target, _, value = text.partition(" = ")
    targets = target.split(", ")
    call = PLAIN_CALL.match(value)
    if call is None:
        return "", ""
    for name in CALLED.findall(after):
        whole = call[0].format(name)
        rest = after.replace(whole, targets[0])
        others = after.replace(whole, "").partition(" = ")[2] or after.replace(whole, "")
        if name in names and after.count(whole) == 1 and not re.search(rf"\b({'|'.join(targets)})\b", others):
            return rest, name
    return "", ""
