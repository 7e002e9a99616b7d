"""Starts a worker and talks to it. The only side of the reference that lives in our own process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converters.errors import UserError

WORKER = Path(__file__).with_name("worker.py")


class Client:
    """A running worker. Requests may be queued; answers come in the same order. Use as a context manager."""

    def __init__(self, python: str = sys.executable) -> None:
        self.errors: deque[str] = deque(maxlen=40)
        self.process = subprocess.Popen(
            [python, str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def send(self, **request: Any) -> None:
        """Queues a request; `receive` returns the answers in order."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._died() from error

    def receive(self) -> Mapping[str, Any]:
        """The next answer. Raises UserError if the worker has died; an answer that says `ok: false` is returned."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, **request: Any) -> Mapping[str, Any]:
        """One request and its answer. Raises UserError where the original framework fails."""
        self.send(**request)
        answer = self.receive()
        if not answer["ok"]:
            raise UserError("the original model cannot be run", found=str(answer["error"])[:500])
        return answer

    def _died(self) -> UserError:
        code = self.process.wait()
        return UserError(
            "the process that runs the original model has died",
            expected="an answer",
            found=f"exit status {code}; it said: {''.join(self.errors)[-500:]}",
            remedy="check that tensorflow is installed: pip install 'tf2torch[verify]'",
        )

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
