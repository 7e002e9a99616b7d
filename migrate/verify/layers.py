"""The error of each layer: its own, when it is fed with what the original's layer got, beside the inherited one."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from migrate.verify.bundle import Bundle
from migrate.verify.criterion import Array, Verdict, compare_float32, compare_float64, refused, scale_of
from migrate.verify.emitted import Emitted, array_of
from migrate.verify.forward import leak_notes
from migrate.verify.recorder import Event, Recorder, source_file
from migrate.verify.records import LayerCall
from migrate.verify.report import BINS, Check, Finding, LayerRow, Place
from migrate.verify.sites import Key, Site, SiteMap


@dataclass(frozen=True)
class Recorded:
    """An output of a layer call as the original made it, and where the emitted model makes it."""

    call: LayerCall
    site: Site
    tensor: str


@dataclass
class Measured:
    """The verdicts of one run, and the error with which it ended if it did."""

    verdicts: dict[Recorded, Verdict] = field(default_factory=dict)
    counts: dict[Recorded, tuple[int, ...]] = field(default_factory=dict)
    places: dict[Recorded, Key] = field(default_factory=dict)
    error: str = ""
    line: int = 0


def check_layers(emitted: Emitted, bundle: Bundle, dtype: str) -> tuple[Check, list[LayerRow]]:
    """Every layer's own error must be within bounds; what it inherits is measured too."""
    sites = SiteMap(emitted.folder, emitted.migration)
    recorded = matched(sites, bundle)
    events = _events(emitted, bundle)
    expected = {item.site: item.tensor for item in recorded}

    def fits(site: Site, key: Key) -> bool:
        """Whether a tensor may be what the original's layer gave: its sizes are the same, in whatever order."""
        given = bundle.tensor("float64", expected[site]).shape if site in expected else ()
        return sorted(events[key]) == sorted(given)

    places = {site: key for site, key in sites.resolved(list(events), fits).items() if key is not None}
    comparing = _Comparing(bundle, dtype, recorded, places)
    inherited = comparing.run(emitted, replace=False)
    own = comparing.run(emitted, replace=True)
    stopped = _stopped_at(recorded, own)
    rows = [_row(item, sites, own, inherited, places, dtype, stopped) for item in recorded]
    findings = [
        Finding(f"output {row.layer}", row.own, row.layer, f"call {row.call}") for row in rows if row.own is not None
    ]
    return Check("layers", dtype, tuple(findings), len(findings), notes=_notes(sites, recorded, bundle)), rows


def matched(sites: SiteMap, bundle: Bundle) -> list[Recorded]:
    """What the original recorded and the project has a place for, in the order in which the original ran."""
    at = {(site.layer, site.call, site.output): site for site in sites.sites}
    found = []
    for call in bundle.layer_calls:
        for number, output in enumerate(call.outputs):
            site = at.get((call.layer, call.call, number))
            if site is not None and output.tensor:
                found.append(Recorded(call, site, output.tensor))
    return found


def _notes(sites: SiteMap, recorded: Sequence[Recorded], bundle: Bundle) -> tuple[str, ...]:
    notes = []
    if sites.edited:
        notes.append("model.py is not as convert wrote it; its lines were matched with those of the original text")
    seen = {item.site.layer for item in recorded}
    unseen = sorted({call.layer for call in bundle.layer_calls} - seen - sites.models)
    if unseen:
        notes.append(f"{len(unseen)} of the original's layers have no place of their own: {', '.join(unseen[:5])}")
    return (*notes, *leak_notes(bundle, "layers"))


def _events(emitted: Emitted, bundle: Bundle) -> dict[Key, tuple[int, ...]]:
    """The shape of every tensor that the model makes, in order, as far as it runs."""
    events: dict[Key, tuple[int, ...]] = {}

    def seen(event: Event, index: int, tensor: torch.Tensor) -> torch.Tensor:
        events[event, index] = tuple(tensor.shape)
        return tensor

    _run(emitted, bundle, Recorder(emitted.model, seen))
    return events


def _run(emitted: Emitted, bundle: Bundle, recorder: Recorder) -> tuple[str, int]:
    """Runs the model on the inputs of the check. ('', 0), or the error and the line of model.py that raised it."""
    inputs = emitted.tensors(bundle.input_arrays(bundle.layer_set))
    try:
        with torch.no_grad(), recorder.watching():
            emitted.model(*inputs)
    except Exception as error:  # an edited model can fail in any way, and that is a result
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno or 0 for frame in frames if frame.filename == source_file(emitted.model)]
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200], (lines or [0])[-1]
    return "", 0


class _Comparing:
    """Compares what a run makes with what the original made, and may put the original's in its place."""

    def __init__(
        self,
        bundle: Bundle,
        dtype: str,
        recorded: Sequence[Recorded],
        places: Mapping[Site, Key],
    ) -> None:
        self.bundle, self.dtype = bundle, dtype
        self.waiting: dict[Any, list[Recorded]] = {}
        for item in recorded:
            if item.site in places:
                self.waiting.setdefault(places[item.site], []).append(item)

    def run(self, emitted: Emitted, *, replace: bool) -> Measured:
        """`replace`: every layer is fed with the original's tensors."""
        measured = Measured()

        def seen(event: Event, index: int, tensor: torch.Tensor) -> torch.Tensor:
            for item in self.waiting.get((event, index), ()):
                self._measure(item, tensor, measured)
                measured.places[item] = (event, index)
            last = self.waiting.get((event, index), [])[-1:]
            return self._original(last[0], tensor) if replace and last else tensor

        measured.error, measured.line = _run(emitted, self.bundle, Recorder(emitted.model, seen))
        return measured

    def _measure(self, item: Recorded, tensor: torch.Tensor, measured: Measured) -> None:
        expected = self.bundle.tensor(self.dtype, item.tensor)
        leak = self.bundle.limit("layers", self.dtype, item.call.layer)
        try:
            found = array_of(item.site.in_keras_order(tensor))
        except (RuntimeError, IndexError) as error:  # too few features to be put in order
            measured.verdicts[item] = refused(f"shape {list(tensor.shape)}: {error}"[:200])
            return
        if self.dtype == "float64":
            measured.verdicts[item] = compare_float64(found, expected, leak)
        else:
            truth = self.bundle.tensor("float64", item.tensor)
            measured.verdicts[item] = compare_float32(found, expected, truth, leak)
        if not measured.verdicts[item].why:
            measured.counts[item] = histogram(found, expected)

    def _original(self, item: Recorded, tensor: torch.Tensor) -> torch.Tensor:
        array = self.bundle.tensor("float64", item.tensor)
        original = item.site.as_emitted(torch.from_numpy(array.copy()))
        return original.to(tensor.device, tensor.dtype)


def histogram(found: Array, expected: Array) -> tuple[int, ...]:
    """How many elements are off by 10^b of the scale, for each b of `BINS`; what is equal counts as the first."""
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.abs(found.astype(np.float64) - expected.astype(np.float64)) / scale_of(expected)
        exponents = np.floor(np.log10(relative[np.isfinite(relative)]))
    clipped = np.clip(exponents, BINS[0], BINS[-1])
    return tuple(int(n) for n in np.bincount((clipped - BINS[0]).astype(int), minlength=len(BINS)))


def _stopped_at(recorded: Sequence[Recorded], own: Measured) -> Recorded | None:
    """The layer at which an error ended the run: one on the line that raised it, else the first not reached."""
    missing = [item for item in recorded if item.site.key is not None and item not in own.verdicts] if own.error else []
    on_line = [item for item in missing if item.site.key is not None and item.site.key[0].line == own.line]
    return next(iter([*on_line, *missing]), None)


def _row(
    item: Recorded, sites: SiteMap, own: Measured, inherited: Measured, places: Mapping[Site, Key], dtype: str,
    stopped: Recorded | None,
) -> LayerRow:  # fmt: skip
    event = places[item.site][0] if item.site in places else (item.site.key or (None, 0))[0]
    place = Place(event.line, sites.line(event)) if event is not None and event.line else None
    verdict = own.verdicts.get(item)
    if verdict is None and item.site.key is not None:
        if item == stopped:
            verdict, place = refused(f"not reached: {own.error}"), Place(own.line, _text(sites, own.line))
        elif stopped is None:
            verdict = refused("model.py does not make this tensor any more")
    return LayerRow(
        item.call.layer, item.call.class_name, "/".join(map(str, item.call.call)), dtype, place, verdict,
        inherited.verdicts.get(item), item.site.within, own.counts.get(item, ()),
    )  # fmt: skip


def _text(sites: SiteMap, line: int) -> str:
    return sites.line(Event("", 0, line))
