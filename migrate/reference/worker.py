"""The reference: runs the original model in its own framework. Started as a process; files in, files out.

Stands alone with the folder `original` beside it: needs numpy and the TensorFlow and Keras (or JAX and Keras) of
whatever interpreter runs it, from Python 3.8 and TensorFlow 2.4 on. One request a line on stdin, as JSON; one answer
a line on stdout: {"ok": true, ...} or {"ok": false, "error": "..."}; before it, lines {"progress": "..."}.
"""

import json
import os
import sys
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
from original.observing import Observer
from original.reference import Reference
from original.session import Session, input_sets


class Worker:
    """Answers requests; keeps what is slow to make. `say` sends a line of progress."""

    def __init__(self, say=lambda text: None):
        self.references, self.session, self.say = {}, None, say

    def reference(self, generation):
        if generation not in self.references:
            self.references[generation] = Reference(generation)
        return self.references[generation]

    def answer(self, request):
        what = request.pop("do")
        if what in ("build", "save"):
            import build

            return getattr(build, what)(self.reference(request.get("generation", 3)), **request)
        if what in ("versions", "run", "open", "observe"):
            return getattr(self, what)(**request)
        if what in ("forward", "layers", "gradients", "training", "leaks") and self.session is not None:
            return self.leaks() if what == "leaks" else getattr(self.session, what)(**request)
        raise ValueError("unknown request: " + what)

    def open(self, generation=3, **request):
        """A model to be captured; the requests after it are about this one."""
        self.session = None
        self.say("start Keras")
        self.session = Session(self.reference(generation), self.say, **request)
        return self.session.describe()

    def observe(self, script, folder, limit, arguments=(), paths=()):
        """A user's training script, run up to its first `fit`; what is recorded is written into `folder`."""
        return Observer(script, folder, limit, self.say).observe(arguments, paths)

    def leaks(self):
        return {"leaks": self.session.leaks}

    def run(self, model, inputs, outputs, dtypes, generation=3):
        """Runs a model file on the arrays of an .npz (`set/input`) in each precision; writes `dtype/set/output`."""
        reference = self.reference(generation)
        sets = input_sets(np.load(inputs))
        found = {}
        for dtype in dtypes:
            for number, result in enumerate(reference.run(model, sets, dtype)):
                found.update({"%s/%d/%d" % (dtype, number, i): array for i, array in enumerate(result)})
        np.savez(outputs, **found)
        return {"outputs": outputs}

    def versions(self, generation=3):
        return self.reference(generation).versions()


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what TensorFlow prints must not mix with the answers

    def send(answer):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    worker = Worker(lambda text: send({"progress": text}))
    for line in sys.stdin:
        try:
            answer = dict(worker.answer(json.loads(line)), ok=True)
        except Exception as error:  # a model can fail in any way; the answer says how
            kind = type(error).__name__
            answer = {"ok": False, "kind": kind, "error": "%s: %s" % (kind, error), "trace": traceback.format_exc()}
        send(answer)


if __name__ == "__main__":
    main()
