# Every target builds .venv from constraints.txt when it is missing. PYTHON: the interpreter to build it with.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
IN_TWO := -n 2 --dist loadgroup --no-loadscope-reorder # two processes; parity_tests/conftest.py says what stays together

.PHONY: demo test curves bench lint sweep samples clean

$(READY): pyproject.toml constraints.txt
	@echo "== building .venv (PyTorch, TensorFlow and Keras: some gigabytes, a few minutes the first time)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev]'
	@touch $(READY)

demo: $(READY)
	@echo "== Keras trains a small CNN on the digits of scikit-learn"
	@rm -rf build/demo && mkdir -p build/demo
	$(BIN)/python samples/make_digits_cnn.py build/demo
	@echo "== tf2torch converts it"
	$(BIN)/tf2torch convert build/demo/digits_cnn.keras -o build/demo/digits_cnn
	@echo "== both predict the whole test set"
	$(BIN)/python samples/compare_digits.py build/demo/digits_cnn build/demo/digits_cnn.npz
	@echo "== the PyTorch source: build/demo/digits_cnn/model.py"
	@cat build/demo/digits_cnn/model.py
	@echo "== the project lies in build/demo/digits_cnn (README.md says how to use it); verify proves that it is the same"
	$(BIN)/tf2torch verify build/demo/digits_cnn.keras build/demo/digits_cnn --html build/demo/report.html

test: $(READY)
	@echo "== all tests; the slow sweeps are in 'make sweep'"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q $(IN_TWO)

sweep: $(READY)
	@echo "== the slow sweeps: all 40 architectures of keras.applications"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m sweep $(IN_TWO)

lint: $(READY)
	@echo "== ruff and mypy"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

curves: $(READY)
	@echo "== loss curves of Keras and of the generated train.py; picture in parity_tests/curves"
	$(BIN)/python -m parity_tests.curves

bench: $(READY)
	@echo "== speed and memory, as ratios measured in one run; results in parity_tests/speed/results"
	$(BIN)/python -m parity_tests.speed

samples: $(READY)
	@echo "== the sample project that is kept under version control"
	@mkdir -p build/samples
	$(BIN)/python samples/make_digits_cnn.py build/samples
	$(BIN)/tf2torch convert build/samples/digits_cnn.keras -o samples/digits_cnn --overwrite

clean:
	rm -rf .venv build dist *.egg-info
