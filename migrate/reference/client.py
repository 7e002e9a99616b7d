"""Starts a worker and talks to it. The only side of the reference that lives in our own process."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from converters.errors import UserError

WORKER = Path(__file__).with_name("worker.py")
SILENCE = 1800.0  # seconds without a word after which a worker counts as hung
Backend = Literal["tensorflow", "jax"]
INSTALL = {
    "tensorflow": "pip install 'tf2torch[verify]'",
    "tf_keras": "pip install tf-keras",
    "keras": "pip install 'keras>=3.5'",
    "jax": "pip install 'jax[cpu]' 'keras>=3.5' h5py",
    "h5py": "pip install h5py",
    "numpy": "pip install numpy",
}


class Client:
    """A running worker. Requests may be queued; answers come in the same order. Use as a context manager.

    `python`: the interpreter that has the original's framework. `timeout`: seconds without any sign of life (None:
    wait for ever). `progress` is told what the worker is doing, `hear` each line that the original prints.
    """

    def __init__(
        self,
        python: str = sys.executable,
        backend: Backend = "tensorflow",
        timeout: float | None = None,
        progress: Callable[[str], None] = lambda step: None,
        hear: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.python, self.backend, self.timeout, self.progress = python, backend, timeout, progress
        self.hear, self.heard = hear, 0.0
        self.errors: deque[str] = deque(maxlen=40)
        self.lines: queue.Queue[str | None] = queue.Queue()
        # What the user's own environment says about paths and warnings is none of the worker's business.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        environment |= {"KERAS_BACKEND": backend}
        try:
            self.process = subprocess.Popen(
                [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                text=True, encoding="utf-8", errors="replace", env=environment,
            )  # fmt: skip
        except OSError as error:
            raise UserError(
                f"the interpreter {python} cannot be started",
                expected="a Python that has the original's TensorFlow, such as ~/old-env/bin/python",
                found=error.strerror or str(error),
                remedy="check the path after --python",
            ) from error
        threading.Thread(target=self._drain, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line)
            self.heard = time.monotonic()
            self.hear(line.rstrip("\n"))

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def send(self, **request: Any) -> None:
        """Queues a request; `receive` returns the answers in order."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def receive(self) -> Mapping[str, Any]:
        """The next answer. Raises UserError if the worker is dead or hangs; `ok: false` is returned like any other."""
        while True:
            try:
                line = self.lines.get(timeout=self.timeout)
            except queue.Empty:
                if self.timeout is not None and time.monotonic() - self.heard < self.timeout:
                    continue  # what it prints is a sign of life
                raise self._hangs() from None
            if line is None:
                raise self._died()
            try:
                answer: dict[str, Any] = json.loads(line)
            except ValueError as error:
                raise self._babbles(line) from error
            if "progress" not in answer:
                return answer
            self.progress(str(answer["progress"]))

    def ask(self, **request: Any) -> Mapping[str, Any]:
        """One request and its answer. Raises UserError where the original framework fails."""
        self.send(**request)
        answer = self.receive()
        if not answer["ok"]:
            raise self._failed(str(answer.get("kind", "")), str(answer["error"]))
        return answer

    # -- what can go wrong -----------------------------------------------------------------------------

    def _failed(self, kind: str, error: str) -> UserError:
        if kind in ("ModuleNotFoundError", "ImportError"):
            return self._missing(error)
        if kind == "Refused":
            return UserError(
                "the original is not run, for the sake of safety",
                expected="a model of built-in layers",
                found=error.partition(": ")[2][:300],
                remedy="if you trust the file, pass --trust: what is in it is run then",
            )
        if kind in ("MemoryError", "ResourceExhaustedError") or "out of memory" in error.lower():
            return _no_memory(error[:200])
        return UserError(
            "the original model cannot be run",
            expected="a model that its own framework loads and runs",
            found=error[:500],
            remedy="try the interpreter that it was made with: --python ~/old-env/bin/python",
        )

    def _missing(self, error: str) -> UserError:
        named = next(
            (name for name in ("tf_keras", "tensorflow", "jax", "h5py", "numpy", "keras") if name in error), ""
        )
        package = INSTALL.get(named, INSTALL[self.backend])
        where = "" if self.python == sys.executable else f"; the interpreter is {self.python}"
        return UserError(
            f"what runs the original model is not installed{where}",
            expected=f"Keras on {self.backend}",
            found=error[:300],
            remedy=f"{package} (or name an interpreter that has it: --python ~/old-env/bin/python)",
        )

    def _died(self) -> UserError:
        code, said = self.process.wait(), "".join(self.errors)[-500:]
        if "ModuleNotFoundError" in said or "ImportError" in said:
            return self._missing(said.strip().rpartition("\n")[2])
        if code == -9:
            return _no_memory("it was killed by the system")
        return UserError(
            "the process that runs the original model has died",
            expected="an answer",
            found=f"exit status {code}; it said: {said or 'nothing'}",
            remedy="check that the framework works: " + f"{self.python} -c 'import {self.backend}'",
        )

    def _hangs(self) -> UserError:
        self.kill()
        return UserError(
            "the process that runs the original model gives no sign of life",
            expected=f"an answer within {self.timeout:g} seconds",
            found="nothing; it was ended",
            remedy="try a smaller model or fewer --checks, or allow more time: --timeout SECONDS",
        )

    def _babbles(self, line: str) -> UserError:
        self.kill()
        return UserError(
            "the process that runs the original model does not speak our language",
            expected="answers as JSON",
            found=line[:200],
            remedy=f"check that {self.python} is a Python interpreter",
        )

    def kill(self) -> None:
        """Ends the process at once."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Ends the process once it has answered what was asked."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
            self.process.wait(timeout=10)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.kill()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self.kill()
        self.close()


def _no_memory(found: str) -> UserError:
    return UserError(
        "the original model does not fit into memory",
        expected="room for the model, its gradients and the optimizer's state in float64",
        found=found,
        remedy="close other programs, leave out checks (--checks forward,layers) or pass --dtype float32",
    )
