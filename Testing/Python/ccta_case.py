"""A small angiogram with three arteries that leave an aorta, for the tests of the whole analysis."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from CardioPrecisionLib.analysis import Loaded, silent
from CardioPrecisionLib.image import Image, write_nifti
from CardioPrecisionLib.measurement import Patient
from CardioPrecisionLib.phantom.ccta import Lesion, Scene, Vessel, around, render_ccta
from CardioPrecisionLib.polyline import even_steps
from CoronaryPlaqueLib.ccta import CCTAParameters, CoronaryCTA
from CoronaryPlaqueLib.seeds import VesselSeeds

QUIET = CCTAParameters(figures=False)
BLOOD = 420.0
AORTA_MM = 13.0
LM = ((-10, 3, 0), (-16, 5, 0.5), (-23, 8, 1))
LAD = ((-23, 8, 1), (-30, 20, -4), (-37, 38, -16), (-38, 50, -34))
LCX = ((-23, 8, 1), (-35, -2, -6), (-41, -14, -18), (-38, -24, -32))
RCA = ((10, 6, 0), (22, 11, -3), (32, 6, -20), (30, -6, -36), (20, -16, -44))
STENOSIS_PCT, STENOSIS_MM = 60.0, 22.0
_MIXED = (("fibrous", 0.4), ("fibrofatty", 0.4), ("low_attenuation", 0.2))


def _vessel(name: str, points, radii, *lesions: Lesion) -> Vessel:
    line = even_steps(np.array(points, float), 0.5)
    return Vessel.along(name, line, np.linspace(*radii, len(line)), wall_mm=0.5, lesions=lesions)


@cache
def scene() -> Scene:
    """60 % of soft plaque in the LAD, a calcified plaque of 30 % in the RCA, a healthy LCX."""
    return Scene(
        (
            _vessel("LM", LM, (2.2, 2.1)),
            _vessel("LAD", LAD, (1.9, 1.3), Lesion(STENOSIS_MM, 10, STENOSIS_PCT, 0.4, 60, 1.2, _MIXED)),
            _vessel("LCX", LCX, (1.7, 1.2)),
            _vessel("RCA", RCA, (2.0, 1.5), Lesion(40, 9, 30, 0.6, 0, 1.15, (("calcified", 1.0),), "sectors")),
        ),
        lumen_hu=BLOOD,
    )


def line(name: str) -> np.ndarray:
    """The whole way ``(n, 3)`` of an artery from the aorta on."""
    own = scene().vessel(name).lumen_line
    return own if name in ("LM", "RCA") else np.vstack([scene().vessel("LM").lumen_line[:-1], own])


@cache
def angiogram() -> Image:
    """0.5 mm voxels, noise of 18 HU, an aorta along the body between the two ostia."""
    points = np.concatenate([v.points for v in scene().vessels])
    geometry = around(points, spacing_mm=(0.5, 0.5, 0.5), margin_mm=9.0)
    image = render_ccta(scene(), geometry, noise_hu=18.0, seed=4).image
    return with_aorta(image)


def with_aorta(image: Image) -> Image:
    i, j = np.meshgrid(*(np.arange(n) for n in image.shape[:2]), indexing="ij")
    world = image.to_world(np.stack([i.ravel(), j.ravel(), np.zeros(i.size)], 1))
    share = np.clip(AORTA_MM - np.hypot(world[:, 0], world[:, 1]) + 0.5, 0, 1).reshape(i.shape)[:, :, None]
    noise = np.random.default_rng(1).normal(0, 12, image.shape)
    mixed = image.array * (1 - share) + (BLOOD + noise) * share
    return image.with_array(np.rint(mixed).astype(np.int16))


@cache
def right_side() -> Image:
    """The part with aorta and RCA alone, for quick runs."""
    image = angiogram()
    edge = image.to_index(np.array([[-18.0, 0, 0]]))[0, 0]
    low, high = (int(edge), image.shape[0]) if image.affine[0, 0] > 0 else (0, int(edge))
    return image.crop((low, 0, 0), (high, image.shape[1], image.shape[2]))


def seeds_of(*names: str) -> tuple[VesselSeeds, ...]:
    """The reader's points: 2 mm beyond the beginning, and near the end."""
    return tuple(VesselSeeds(n, line(n)[6], line(n)[-8], np.zeros((0, 3))) for n in names)


def write_seeds(path: Path, seeds: tuple[VesselSeeds, ...]) -> Path:
    rows = ["vessel,role,r,a,s"]
    for one in seeds:
        for role, point in (("ostium", one.ostium), ("distal", one.distal)):
            rows.append(",".join([one.vessel, role, *(f"{v:.2f}" for v in point)]))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def write_case(folder: Path) -> tuple[Path, Path]:
    """The angiogram as NIfTI and the points as CSV."""
    ct = folder / "ct.nii.gz"
    write_nifti(ct, angiogram().array, angiogram().affine)
    return ct, write_seeds(folder / "seeds.csv", seeds_of("LAD", "LCX", "RCA"))


def analyse(image: Image, seeds, parameters=QUIET, labels=None, record=None, progress=silent, role="seeds"):
    """The analysis in memory."""
    inputs = {"ccta": Loaded(image, record=record or {})}
    if seeds is not None:
        inputs[role] = Loaded(seeds)
    return CoronaryCTA().run(inputs, parameters, progress, patient=Patient(), labels=labels)
