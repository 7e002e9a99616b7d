"""Every learning rate schedule, step by step, against Keras."""

import pytest
import torch

from converters.training import build
from converters.training.schedules import schedule_of
from parity_tests import training_cases as cases
from parity_tests.training import reference


@pytest.mark.parametrize("name", cases.SCHEDULES)
def test_rates(name):
    schedule = schedule_of(cases.SCHEDULES[name])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=schedule.initial)
    scheduler = build(schedule.piece, optimizer=optimizer)
    for step, expected in enumerate(reference()[f"schedule/{name}"]):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        assert build(schedule.rate)(step) == pytest.approx(expected, rel=1e-12, abs=1e-15)
        optimizer.step()
        scheduler.step()


def test_sees_a_step_too_many():
    schedule = schedule_of(cases.SCHEDULES["piecewise"])
    rates = [build(schedule.rate)(step + 1) for step in range(20)]
    assert rates != pytest.approx(reference()["schedule/piecewise"][:20])
