"""Coronary calcium on non-contrast CT: the analysis."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from CardioPrecisionLib.analysis import Input, LabelMap, Loaded, Progress, Result, Table, part
from CardioPrecisionLib.errors import InputError
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.measurement import Patient

from . import calling, contrast, ct_input, territory
from .axial import axial
from .calcium_norm_rows import norm_rows
from .calcium_rows import Seen, all_missing, score_rows
from .candidates import Candidate, find_candidates
from .scoring import Lesion, Scores, factor_edges, score
from .vessels import CORONARY, OTHER, SEGMENTS, SITES

HEADLINE = ("agatston_score", "cac_percentile_mesa", "arterial_age", "cac_drs", "calcium_volume")


@dataclass(frozen=True)
class CalciumParameters:
    """Parameters of `CalciumScore`.

    Attributes
    ----------
    device : {"auto", "cpu", "cuda", "mps"}
    precision : {"auto", "float32", "bfloat16", "float16"}
    deterministic : bool
        Same input, same labels.
    threads : int or None
        CPU threads of the network; None takes what torch takes.
    kvp_adapted : bool
        Thresholds and factors for the tube voltage in the header (70, 80, 100, 120 kVp) instead of 130 HU.
    calibration_mg_per_ml_hu : float or None
        Mass calibration factor of scanner, voltage and kernel in mg/mL per HU, from a phantom.
    race : {"white", "black", "chinese", "hispanic"}
        For the MESA percentile; also from the clinical file.
    figures : bool
        Draw the figures of the report.
    """

    device: str = "auto"
    precision: str = "auto"
    deterministic: bool = True
    threads: int | None = None
    kvp_adapted: bool = False
    calibration_mg_per_ml_hu: float | None = None
    race: str | None = field(default=None, metadata={"clinical": "race"})
    figures: bool = True

    def __post_init__(self) -> None:
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise InputError(f"device '{self.device}' is not known; use auto, cpu, cuda or mps.")
        if self.precision not in ("auto", "float32", "bfloat16", "float16"):
            raise InputError(f"precision '{self.precision}' is not known; use auto, float32, bfloat16 or float16.")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads {self.threads} cannot be used; use 1 or more.")
        factor = self.calibration_mg_per_ml_hu
        if factor is not None and not (math.isfinite(factor) and 0.1 <= factor <= 2.0):
            raise InputError(
                f"calibration_mg_per_ml_hu is {factor:g}; it must be from 0.1 to 2 mg/mL per HU (usually 0.7 to 0.85)."
            )
        if self.race is not None:
            object.__setattr__(self, "race", str(self.race).strip().lower())


@dataclass(frozen=True, eq=False)
class _Labelled:
    """Labels of a CT, where they come from, and which sites were looked at."""

    labels: Array  # (i, j, k) on the input's grid
    method: str
    seen: Seen
    candidates: list[Candidate] = field(default_factory=list)
    calls: calling.Calls | None = None


class CalciumScore:
    """Agatston score, volume and mass of calcium by vessel."""

    name: ClassVar[str] = "calcium"
    title: ClassVar[str] = "Coronary calcium"
    inputs: ClassVar[tuple[Input, ...]] = (Input("cardiac_ct", "Non-contrast cardiac or chest CT"),)
    Parameters: ClassVar[type] = CalciumParameters
    segments: ClassVar = SEGMENTS
    label_schemes: ClassVar = {"cardioprecision": {s.value: s.value for s in SEGMENTS}}
    labels_option: ClassVar[str] = "--vessels"
    time_resolved: ClassVar[bool] = False
    #: A label file without labels says that the reader found no calcium.
    empty_labels: ClassVar[bool] = True
    bundles: ClassVar[tuple[str, ...]] = (territory.BUNDLE, calling.BUNDLE)

    def load(self, role: str, path: str, progress: Progress) -> Loaded:
        """Read the CT; see `CoronaryPlaqueLib.ct_input.load`."""
        return ct_input.load(path, progress)

    def run(
        self,
        inputs: Mapping[str, Loaded],
        parameters: CalciumParameters,
        progress: Progress,
        *,
        patient: Patient,
        labels: LabelMap | None = None,
    ) -> Result:
        """Score calcium.

        Parameters
        ----------
        inputs : mapping
            ``cardiac_ct``: a `Loaded` with an `Image` in HU.
        parameters : CalciumParameters
        progress : callable
        patient : Patient
            Sex and age choose percentiles and severity bands.
        labels : LabelMap, optional
            A reader's labels of vessels or of calcifications, as in `vessels`; what is at or above the threshold inside
            them is scored.

        Raises
        ------
        InputError
            Without labels: contrast in the blood, or values that are no HU.
        """
        loaded = inputs["cardiac_ct"]
        image: Image = loaded.data
        headline = [*HEADLINE, *(["calcium_mass"] if parameters.calibration_mg_per_ml_hu else [])]
        result = Result(record={"seconds": {}, "headline": headline})
        source = str(loaded.record.get("source") or "image file")
        kvp = self._voltage(loaded, parameters)
        if labels is not None:
            labelled = self._given(labels, loaded, result)
        else:
            found = self._find(image, loaded, factor_edges(kvp)[0], parameters, part(progress, 0.0, 0.75), result)
            if isinstance(found, str):
                result.measurements = all_missing(found, source)
                result.warnings.append(found)
                return result
            labelled = found
        started = time.perf_counter()
        progress(0.76, "Scoring")
        scores = score(image, labelled.labels, kvp=kvp)
        result.measurements = score_rows(
            scores, labelled.seen, labelled.method, source, parameters.calibration_mg_per_ml_hu
        )
        result.measurements.extend(norm_rows(scores, labelled.seen, patient, parameters.race, source))
        result.tables += [_vessel_table(scores, labelled.seen), _lesion_table(scores, labelled)]
        result.labels = LabelMap(labelled.labels[None], image.affine, SEGMENTS)
        result.record["seconds"]["score"] = time.perf_counter() - started
        if parameters.figures:
            from .calcium_figures import make_figures

            started = time.perf_counter()
            progress(0.8, "Drawing figures")
            result.figures = make_figures(
                image, labelled.labels, scores, labelled.candidates, labelled.calls, patient, parameters.race
            )
            result.record["seconds"]["figures"] = time.perf_counter() - started
        progress(1.0, "Done")
        return result

    @staticmethod
    def _voltage(loaded: Loaded, parameters: CalciumParameters) -> float | None:
        if not parameters.kvp_adapted:
            return None
        kvp = (loaded.record.get("acquisition") or {}).get("kvp")
        if kvp is None:
            raise InputError("--kvp-adapted needs the tube voltage, which this image does not give; leave it out.")
        return float(kvp)

    # -- labels ------------------------------------------------------------------------------------------------------
    @staticmethod
    def _given(labels: LabelMap, loaded: Loaded, result: Result) -> _Labelled:
        """A reader's labels: always scored; what the header says against it becomes a warning."""
        against = ct_input.refusal(loaded.record)
        if against:
            result.warnings.append(f"{against} The labels were scored as they are.")
        array = np.asarray(labels.array[0])
        present = set(np.flatnonzero(np.bincount(array.ravel(), minlength=OTHER + 1)).tolist()) - {0}
        # Coronary labels, or what was put aside as "other", or no label at all say that the coronaries were looked at.
        coronaries = not present or bool(present & {*CORONARY, OTHER})
        rest = not present or OTHER in present
        reasons = {
            site: None if label in present or (coronaries if label in CORONARY else rest) else
            f"The labels hold no {site.replace('_', ' ')}."
            for label, site in SITES.items()
        }  # fmt: skip
        if not present:
            result.warnings.append("The labels are empty: they were read as no calcium anywhere.")
        return _Labelled(array, "reader's labels", Seen(reasons))

    def _find(
        self,
        image: Image,
        loaded: Loaded,
        threshold_hu: int,
        parameters: CalciumParameters,
        progress: Progress,
        result: Result,
    ) -> _Labelled | str:
        """Search for calcium and call it by vessel; a sentence where the heart is not there as a whole."""
        against = ct_input.refusal(loaded.record)
        if against:
            raise InputError(f"{against} Give a CT without contrast in HU, or your own labels with --vessels.")
        seconds = result.record["seconds"]
        started = time.perf_counter()
        grid = territory.coarse(image)
        _refuse_contrast(contrast.bright_body(grid[0]))
        found = territory.find_territories(
            grid,
            device=parameters.device,
            precision=parameters.precision,
            deterministic=parameters.deterministic,
            threads=parameters.threads,
            progress=part(progress, 0.0, 0.8),
        )
        seconds["territories"] = time.perf_counter() - started
        result.record["models"] = [found.record]
        problem = territory.coverage_problem(found)
        if problem:
            return problem
        if near := territory.coverage_warning(found):
            result.warnings.append(near)
        _refuse_contrast(contrast.blood_hu(grid[0], found))
        started = time.perf_counter()
        progress(0.82, "Looking for calcium")
        candidates = find_candidates(image, found, threshold_hu)
        calls = calling.call(candidates)
        result.record["models"].append(calls.record)
        seconds["candidates"] = time.perf_counter() - started
        result.record["candidates"] = len(candidates)
        labels = draw(image, candidates, calls.label)
        version = found.record["version"]
        method = f"found and called by MONAI bundles {territory.BUNDLE} {version}, {calling.BUNDLE}"
        return _Labelled(labels, method, Seen(dict.fromkeys(SITES.values())), candidates, calls)


def _refuse_contrast(blood_hu: float | None) -> None:
    if blood_hu is not None and blood_hu > contrast.CONTRAST_HU:
        raise InputError(
            f"The blood measures {blood_hu:.0f} HU: this CT was made with contrast. Give one without, or your own "
            "labels with --vessels."
        )


def draw(image: Image, candidates: list[Candidate], labels: Array) -> Array:
    """The candidates with their labels on the image's grid ``(i, j, k)`` uint8."""
    drawn = np.zeros(image.shape, np.uint8)
    view = axial(image.with_array(drawn)).array  # writes through to `drawn`
    for candidate, label in zip(candidates, labels, strict=True):
        view[tuple(candidate.at)] = label
    return drawn


def _vessel_table(scores: Scores, seen: Seen) -> Table:
    """One row per site that was looked at, the coronary total first."""
    parts = [("total", scores.total()), *((site, scores.by_label[label]) for label, site in SITES.items())]
    rows = [(site, part) for site, part in parts if seen.why_not(site) is None]
    columns: dict[str, list[Any]] = {
        "site": [site.replace("_", " ") for site, _ in rows],
        "agatston": [part.agatston for _, part in rows],
        "agatston_3mm": [part.agatston_3mm for _, part in rows],
        "volume": [part.volume_mm3 for _, part in rows],
        "lesions": [part.lesion_count for _, part in rows],
    }
    if all(value is None for value in columns["agatston_3mm"]):
        del columns["agatston_3mm"]
    return Table("vessels", "Calcium by vessel", columns, {"volume": "mm3"})


def _lesion_table(scores: Scores, labelled: _Labelled) -> Table:
    """One row per scored lesion; the probability of its call where it was called by the model."""

    rows = scores.lesions
    columns: dict[str, list[Any]] = {
        "lesion": list(range(1, len(rows) + 1)),
        "site": [SITES[r.label] for r in rows],
        "agatston": [r.agatston for r in rows],
        "volume": [r.volume_mm3 for r in rows],
        "mean": [r.mean_hu for r in rows],
        "maximum": [r.max_hu for r in rows],
        "r": [r.center_mm[0] for r in rows],
        "a": [r.center_mm[1] for r in rows],
        "s": [r.center_mm[2] for r in rows],
    }
    if labelled.calls is not None:
        columns["probability"] = [_probability(r, labelled.candidates, labelled.calls) for r in rows]
    units = {"volume": "mm3", "mean": "[hnsf'U]", "maximum": "[hnsf'U]", "r": "mm", "a": "mm", "s": "mm"}
    return Table("lesions", "Calcified lesions", columns, units)


def _probability(lesion: Lesion, candidates: list[Candidate], calls: calling.Calls) -> float | None:
    """Of the candidate with the lesion's label that lies closest to it: the one that the lesion was drawn from."""
    own = np.flatnonzero(calls.label == lesion.label)
    if not own.size:
        return None
    centers = np.array([candidates[n].center_mm for n in own])
    nearest = own[np.argmin(np.linalg.norm(centers - np.array(lesion.center_mm), axis=1))]
    return float(calls.probability[nearest, lesion.label - 1])
