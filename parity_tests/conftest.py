"""One reference worker for the whole run. It works ahead: all requests are queued when the tests are known.

`make test` runs two processes: the tests of one group stay in one of them, and so does what these share.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from migrate.reference.capture import Options
from migrate.reference.client import Client
from parity_tests.case import Case, case
from parity_tests.subjects import SUBJECTS, Subject, made
from parity_tests.texts import Texts

# The worker takes long for whole architectures: it makes them while the cases are judged. Texts are read at the end.
ORDER = {"test_cases": 0, "test_applications": 2, "test_texts": 3}
GROUPS = ("reference", "training", "subjects")  # those that take longest come first


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in its own
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.xdist_group(group_of(item)))
    items.sort(key=lambda item: (rank_of(item), ORDER.get(item.path.stem, 1)))


def group_of(item: pytest.Item) -> str:
    """What a test shares with others: the reference worker, models that Keras trained, captured models, or its file."""
    fixtures = getattr(item, "fixturenames", ())
    if {"bench", "texts"}.intersection(fixtures):
        return "reference"
    if {"projects", "reference"}.intersection(vars(getattr(item, "module", None) or item)):
        return "training"  # of `parity_tests`: `projects.fitted`, `training.reference`
    return "subjects" if "subjects" in fixtures else item.path.stem


def rank_of(item: pytest.Item) -> int:
    group = group_of(item)
    return GROUPS.index(group) if group in GROUPS else len(GROUPS)


class Bench:
    """The worker, the answers that it has given so far, and what it has still to make."""

    AHEAD = 2  # requests in the worker's hands; the others wait here, where one that a test waits for can overtake

    def __init__(self, folder: Path) -> None:
        self.client, self.folder = Client(), folder
        self.answers: dict[str, Mapping[str, Any]] = {}
        self.known: set[str] = set()
        self.waiting: deque[tuple[str, dict[str, Any]]] = deque()
        self.sent: deque[str] = deque()
        self.changed = threading.Condition()
        for work in (self._send, self._listen):
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def queue(self, request: dict[str, Any], *, now: bool = False) -> str:
        """A request to be made, once; the key of its answer. `now`: before all that waits."""
        key = repr(request)
        with self.changed:
            if key not in self.known:
                self.known.add(key)
                (self.waiting.appendleft if now else self.waiting.append)((key, request))
                self.changed.notify_all()
        return key

    def _send(self) -> None:
        for number in count():
            with self.changed:
                self.changed.wait_for(lambda: self.waiting and len(self.sent) < self.AHEAD)
                key, request = self.waiting.popleft()
                self.sent.append(key)
            self.client.send(**request, folder=str(self.folder / f"{number}"))

    def _listen(self) -> None:
        while True:
            answer = self.client.receive()
            with self.changed:
                self.answers[self.sent.popleft()] = answer
                self.changed.notify_all()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # the worker is gone: whoever waits must hear of it
            with self.changed:
                self.answers["died"] = {"ok": False, "error": str(error)}
                self.changed.notify_all()

    def ask(self, case: Case) -> Mapping[str, Any]:
        """The saved model and reference of a case; waits for it, and overtakes what waits."""
        return self.result(self.queue(case.request(), now=True))

    def saved(self, case: Case) -> Path:
        """The saved model of a case, which is not run: for tests of its text."""
        wanted = {key: value for key, value in case.request().items() if key in ("model", "inputs", "generation")}
        return Path(self.result(self.queue({"do": "save", **wanted}, now=True))["path"])

    def result(self, key: str) -> Mapping[str, Any]:
        """What the worker made of a request; waits for it."""
        with self.changed:
            self.changed.wait_for(lambda: key in self.answers or "died" in self.answers)
            answer = self.answers.get(key) or self.answers["died"]
        assert answer["ok"], answer["error"] + "\n" + answer.get("trace", "")
        return answer


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("reference"))
    for item in request.session.items:
        spec = getattr(item, "callspec", None)
        if spec is not None and isinstance(spec.params.get("case"), Case):
            made.queue(spec.params["case"].request())
    yield made
    made.client.process.kill()


@pytest.fixture
def built(request: pytest.FixtureRequest, bench: Bench) -> Mapping[str, Any]:
    """The saved model and reference of the test's case."""
    return bench.ask(request.node.callspec.params["case"])


@pytest.fixture(scope="session")
def bench_model(bench: Bench) -> str:
    """The path of a small saved model, for tests that need any."""
    path: str = bench.ask(case("any model", "Dense(4, activation='relu'), Dense(3)", (5,)))["paths"][0]
    return path


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Texts:
    """The texts that the tests of this run had emitted."""
    return Texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Subject]:
    """The models that the tests of `verify` share, captured and converted once."""
    folder = tmp_path_factory.mktemp("subjects")
    with Client() as client:
        return {name: made(client, name, model, folder, Options(steps=3)) for name, model in SUBJECTS.items()}
