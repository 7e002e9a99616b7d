"""A user's script as a program: how it is run, where it stands, and what is said when it fails."""

import ast
import contextlib
import linecache
import os
import sys
import types

from .material import Refusal

TRAINING_ARGUMENTS = {"epochs", "batch_size", "validation_data", "validation_split", "callbacks", "steps_per_epoch"}


@contextlib.contextmanager
def as_program(script, arguments, paths):
    """Within, all is as if Python had been started with the script, in its folder."""
    module = types.ModuleType("__main__")
    module.__file__, module.__builtins__ = script, __builtins__
    kept = sys.argv, sys.path[:], os.getcwd(), sys.modules["__main__"], sys.stdin
    sys.argv, sys.path[:1] = [script] + list(arguments), [os.path.dirname(script)] + list(paths)
    sys.modules["__main__"] = module
    os.chdir(os.path.dirname(script))
    stdin = os.dup(0)  # requests come in there: a script that asks for input must not read them
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.stdin = os.fdopen(nothing)
    try:
        yield module
    finally:
        sys.argv, sys.path[:], folder, sys.modules["__main__"], sys.stdin = kept
        os.chdir(folder)
        os.dup2(stdin, 0)
        os.close(stdin)


def line_of(script):
    """The line of the script that is being run; 0 where it is none of its own."""
    frame = sys._getframe()
    while frame is not None and frame.f_code.co_filename != script:
        frame = frame.f_back
    return frame.f_lineno if frame is not None else 0


def here(script):
    return "%s, line %d" % (os.path.basename(script), line_of(script))


def other_fits(script):
    """What is to be said where `fit` would have been called again."""
    with open(script, "rb") as file:
        tree, line, notes = ast.parse(file.read()), line_of(script), []
    lines = sorted({node.lineno for node in ast.walk(tree) if is_fit(node)} - {line})
    lines = [other for other in lines if other > line]
    loops = [node for node in ast.walk(tree) if isinstance(node, (ast.For, ast.While))]
    if any(loop.lineno <= line <= loop.end_lineno for loop in loops):
        notes.append("fit, line %d, is called in a loop: its first call was recorded" % line)
    if lines:
        notes.append("fit, line %d, was recorded; not that of line %s" % (line, ", ".join(map(str, lines))))
    return notes


def is_fit(node):
    """A call of a model's fit, not of a scaler's: it has what only a training has."""
    called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr.startswith("fit")
    return called and bool({keyword.arg for keyword in node.keywords} & TRAINING_ARGUMENTS)


def never(script):
    return Refusal(
        "the script ends without a call of fit",
        expected="model.fit(...), which is recorded there",
        found="the end of %s" % os.path.basename(script),
        remedy="check that it trains when it is run as a program; arguments for it stand after --",
    )


def failed(error, script, problem="the script fails before its first fit"):
    """What a script raised, with the last line of the user's own code."""
    folder, last = os.path.dirname(script), None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if os.path.abspath(name).startswith(folder + os.sep) and "site-packages" not in name:
            last = (name, trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        last = error.filename, error.lineno
    where = ""
    if last is not None:
        linecache.checkcache(last[0])
        code = linecache.getline(last[0], last[1]).strip()
        where = "%s, line %d: %s\n    " % (os.path.relpath(last[0], folder), last[1], code[:120])
    said = " ".join(str(error).split())
    return Refusal(
        problem,
        expected="a script that runs as a program",
        found="%s%s: %s" % (where, type(error).__name__, said[:400] + (" ..." if len(said) > 400 else "")),
        remedy=way_out(error, script),
    )


def way_out(error, script):
    if isinstance(error, ImportError):
        return "install it, or name the interpreter that the script runs with: --python ~/my-env/bin/python"
    if isinstance(error, SystemExit):
        return "arguments of the script stand after --: tf2torch scaffold --script %s ... -- --option value" % (
            os.path.basename(script)
        )
    if "URL" in str(error):
        return "run it where the network is, or put the file where it looks first (~/.keras/datasets)"
    if isinstance(error, OSError):
        return "it runs in its own folder, %s: paths are from there" % os.path.dirname(script)
    return "check that it runs: %s %s" % (sys.executable, os.path.basename(script))
