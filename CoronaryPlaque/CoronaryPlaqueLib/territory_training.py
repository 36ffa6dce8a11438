"""Training data of the territory network: synthetic chests on the coarse grid, with the territory of every voxel.

No patient is in it. The recipe is the bundle's ``train.yaml``; this module makes the cases, varies them and judges.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from CardioPrecisionLib.image import Array, Image
from CardioPrecisionLib.replacing import replacing
from scipy import ndimage
from scipy.spatial import cKDTree

from .territory import CLASSES, HEART, OUTSIDE_HU, STEP_MM, coarse, network_input
from .vessels import AORTA, AORTIC_VALVE, LAD, LCX, LM, MITRAL_VALVE, RCA

_ARTERIES = {"LM": LM, "LAD": LAD, "LCX": LCX, "RCA": RCA}
#: How far from its wall an artery's territory reaches, in mm: wide, so that a place between two arteries belongs to the
#: nearer one and a heart of another build still finds its arteries. Wide only near the heart's surface.
REACH_MM = 14.0
_NEAR_MM, _DEPTH_MM = 5.0, 6.0
_AORTA = ("ascending", "arch", "descending")
_AORTA_WALL_MM = 3.0


def territory_labels(patient: Any, affine: Array, shape: tuple[int, int, int]) -> Array:
    """Class of every voxel of a grid in a synthetic patient, ``(i, j, k)`` uint8 as in `territory.CLASSES`.

    Parameters
    ----------
    patient : CardioPrecisionLib.phantom.ct.ThoraxPatient
    affine : numpy.ndarray
        ``(4, 4)``.
    shape : tuple of int
    """
    grid = Image(np.zeros(shape, bool), affine)
    index = np.indices(shape).reshape(3, -1).T
    world = grid.to_world(index)
    labels = np.zeros(len(world), np.uint8)
    sac = patient.distance_to_pericardium(world)
    labels[sac < 0] = HEART
    lumen = np.full(len(world), np.inf)
    for part in patient.parts:
        if part.kind in _AORTA:
            lumen = np.minimum(lumen, _distance(part.shape, world))
    labels[lumen < _AORTA_WALL_MM] = AORTA
    marks = patient.landmarks
    labels[_ring(world, marks["mitral_center"], marks["apex"], 18.0, 7.0)] = MITRAL_VALVE
    root = np.linalg.norm(world - marks["aortic_root"], axis=1)
    labels[root < 13.0] = AORTIC_VALVE
    near = np.flatnonzero((sac < 6.0) & (lumen > -1.5))
    points = np.concatenate([c.points for c in patient.courses])
    radii = np.concatenate([c.radii for c in patient.courses])
    sites = np.concatenate([np.full(len(c.points), _ARTERIES[c.site]) for c in patient.courses])
    muscle = np.full(len(near), np.inf)
    for part in patient.parts:
        if part.kind == "heart":
            muscle = np.minimum(muscle, _distance(part.shape, world[near]))
    distance, nearest = cKDTree(points).query(world[near], distance_upper_bound=REACH_MM + 6.0)
    within = np.isfinite(distance)
    away = distance[within] - radii[nearest[within]]
    # Valves and aorta keep what is theirs, but for the arteries themselves.
    free = (muscle[within] > -_DEPTH_MM) & np.isin(labels[near[within]], (0, HEART))
    within[within] = (away < _NEAR_MM) | (free & (away < REACH_MM))
    labels[near[within]] = sites[nearest[within]]
    return labels.reshape(shape)


def _distance(shape: Any, world: Array) -> Array:
    low, high = (np.asarray(end) for end in shape.box())
    inside = ((world >= low - 6) & (world <= high + 6)).all(axis=1)
    found = np.full(len(world), np.inf)
    found[inside] = shape.distance(*world[inside].T)
    return found


def _ring(world: Array, center: Array, toward: Array, radius: float, reach: float) -> Array:
    """Within `reach` of a ring around `center` whose axis points `toward`."""
    axis = (toward - center) / np.linalg.norm(toward - center)
    away = world - center
    along = away @ axis
    across = np.linalg.norm(away - along[:, None] * axis, axis=1)
    near: Array = np.hypot(across - radius, along) < reach
    return near


def make_case(seed: int, wide: bool = False) -> tuple[Array, Array, Array]:
    """One synthetic scan on the coarse grid: HU float16, whether inside the scan, class; ``(i, j, k)`` each.

    With `wide` three hearts in four are wide ones, see `is_wide`.
    """
    from CardioPrecisionLib.phantom.ct.patients import random_thorax

    rng = np.random.default_rng([seed, 77])
    patient = random_thorax(seed, wide=wide and is_wide(seed))
    chest = rng.random() < 0.6
    field = rng.uniform(300, 420) if chest else rng.uniform(190, 270)
    cut = rng.random() < 0.2
    angle = rng.normal(0, 4, 3)
    geometry = patient.geometry(
        "chest" if chest else "cardiac",
        matrix=round(field / STEP_MM),
        field_mm=field,
        thickness_mm=STEP_MM,
        cut_top_mm=float(rng.uniform(0, 60)) if cut else 0.0,
        cut_bottom_mm=float(rng.uniform(0, 60)) if cut and rng.random() < 0.5 else 0.0,
        circle=bool(rng.random() < 0.4),
        rotation=_turn(angle),
    )
    kernels: list[Any] = ["soft", "medium"]
    sample = patient.render(
        geometry, noise_hu=float(rng.uniform(2, 14)), kernel=kernels[int(rng.integers(2))], seed=seed
    )
    hu, inside, affine = coarse(sample.image)
    return hu.astype(np.float16), inside, territory_labels(patient, affine, hu.shape)


def is_wide(seed: int) -> bool:
    """Whether a seed is one of the three in four with a wide heart, where such hearts are wanted."""
    return seed % 4 != 0


def _turn(degrees: Array) -> Array:
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix())


def cases(
    folder: str | Path, first: int, count: int, workers: int = 2, wide: bool = False
) -> list[tuple[Array, Array, Array]]:
    """Cases by seed, made once and kept in `folder`, which is for `wide` ones or for usual ones."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(range(first, first + count))
    todo = [s for s in seeds if not (folder / f"{s}.npz").exists()]
    if todo:
        with ProcessPoolExecutor(workers) as pool:
            for seed, (hu, inside, label) in zip(todo, pool.map(partial(make_case, wide=wide), todo), strict=True):
                with replacing(folder / f"{seed}.npz") as beside:
                    np.savez_compressed(beside, hu=hu, inside=inside, label=label)
    out = []
    for seed in seeds:
        with np.load(folder / f"{seed}.npz") as stored:
            out.append((stored["hu"], stored["inside"], stored["label"]))
    return out


class VolumeSampler:
    """Batches of varied boxes: turned, scaled, cut, brightened, blurred, with fluid in a lung."""

    def __init__(
        self,
        cases: Sequence[tuple[Array, Array, Array]],
        size: tuple[int, int, int] = (80, 80, 64),
        batch_size: int = 2,
        seed: int = 0,
    ):
        self.cases, self.size, self.batch_size = list(cases), tuple(size), batch_size
        self.rng = np.random.default_rng(seed)

    def state(self) -> dict[str, Any]:
        return dict(self.rng.bit_generator.state)

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """``(b, 3, i, j, k)`` float32 and ``(b, i, j, k)`` int64."""
        pairs = [self._one() for _ in range(self.batch_size)]
        return torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])

    def _one(self) -> tuple[torch.Tensor, torch.Tensor]:
        r = self.rng
        hu, inside, label = self.cases[int(r.integers(len(self.cases)))]
        hu = self._fluid(hu.astype(np.float32))
        grid = self._grid(hu.shape, label)
        values = torch.from_numpy(np.stack([hu, inside.astype(np.float32)]))[None]
        got = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
        beyond = (grid[0].abs() > 1.0).any(-1)
        y = F.grid_sample(
            torch.from_numpy(label.astype(np.float32))[None, None], grid, mode="nearest", align_corners=True
        )[0, 0].long()
        x, within = got[0].numpy(), ((got[1] > 0.5) & ~beyond).numpy()
        x = self._intensity(x)
        # A smaller field of view or fewer slices than the case has.
        for axis in range(3):
            if r.random() < 0.12:
                n = x.shape[axis]
                edge = int(r.integers(1, n // 3))
                part = [slice(None)] * 3
                part[axis] = slice(0, edge) if r.random() < 0.5 else slice(n - edge, n)
                within[tuple(part)] = False
        x[~within] = OUTSIDE_HU
        y[torch.from_numpy(~within)] = 0
        return torch.from_numpy(network_input(x, within)), y

    def _grid(self, shape: tuple[int, ...], label: Array) -> torch.Tensor:
        r = self.rng
        size = np.array(self.size)
        heart = np.argwhere(label[::4, ::4, ::4] > 0) * 4
        middle = heart[int(r.integers(len(heart)))] if len(heart) and r.random() < 0.3 else (
            heart.mean(0) if len(heart) else np.array(shape) / 2
        )  # fmt: skip
        center = middle + r.normal(0, 8, 3)
        turn = _turn(r.normal(0, 5, 3))
        scale = 2.0 ** r.uniform(-0.22, 0.22, 3)
        u = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij"), -1)
        at = self._turned_heart((u * scale) @ turn.T + center, middle, heart)
        if r.random() < 0.5:
            coarse_field = torch.from_numpy(r.normal(0, 2.0, (1, 3, 5, 5, 5)))
            bend = F.interpolate(coarse_field, size=tuple(size), mode="trilinear", align_corners=True)[0]
            at = at + bend.permute(1, 2, 3, 0).numpy()
        norm = 2 * at / (np.array(shape) - 1) - 1
        return torch.from_numpy(norm[..., ::-1].astype(np.float32).copy())[None]

    def _turned_heart(self, at: Array, middle: Array, heart: Array) -> Array:
        """The heart turned within its chest, less and less outside of it: upright and lying hearts."""
        r = self.rng
        if not len(heart) or r.random() < 0.3:
            return at
        vector = r.normal(0, np.deg2rad(11.0), 3)
        angle = float(np.linalg.norm(vector))
        axis = vector / angle
        away = at - middle
        size = np.linalg.norm(away, axis=-1, keepdims=True) * STEP_MM
        part = angle * np.clip((105.0 - size) / 45.0, 0.0, 1.0)
        along = (away @ axis)[..., None] * axis
        turned = away * np.cos(part) + np.cross(axis, away) * np.sin(part) + along * (1 - np.cos(part))
        return middle + turned

    def _fluid(self, hu: Array) -> Array:
        """Pleural fluid or collapse: the lower back part of one lung as bright as soft tissue."""
        r = self.rng
        if r.random() > 0.2:
            return hu
        i, j, k = (np.linspace(-1, 1, n).reshape([-1 if a == b else 1 for b in range(3)])
                   for a, n in enumerate(hu.shape))  # fmt: skip
        side = i < -0.05 if r.random() < 0.5 else i > 0.05
        region = side & (j * r.uniform(0.3, 1.0) + k * r.uniform(0.1, 1.0) < r.uniform(-0.9, 0.1))
        out = hu.copy()
        lung = region & (hu < -300) & (hu > OUTSIDE_HU + 60)
        out[lung] = r.uniform(-10, 30) + r.normal(0, 8, int(lung.sum()))
        return out

    def _intensity(self, x: Array) -> Array:
        r = self.rng
        x = x.copy()
        lung = x < -500
        x[lung] += r.uniform(-80, 160)
        if r.random() < 0.5:
            x = x + r.normal(0, 12)
        if r.random() < 0.5:
            coarse_field = torch.from_numpy(r.normal(0, 18, (1, 1, 4, 4, 4)))
            bias = F.interpolate(coarse_field, size=x.shape, mode="trilinear", align_corners=True)[0, 0]
            x = x + bias.numpy() * (x > -300)
        if r.random() < 0.4:
            x = ndimage.gaussian_filter(x, r.uniform(0.2, 0.8))
        if r.random() < 0.6:
            x = x + r.normal(0, r.uniform(2, 22), x.shape)
        # Soft tissue against fat: more or less contrast.
        stretch = 2.0 ** r.uniform(-0.35, 0.35)
        soft = (x > -200) & (x < 200)
        x[soft] = (x[soft] + 40) * stretch - 40
        return x.astype(np.float32)


class TerritoryCheck:
    """Mean Dice per class on whole held-out cases."""

    def __init__(self, cases: Sequence[tuple[Array, Array, Array]]):
        self.cases = list(cases)

    def __call__(self, network: torch.nn.Module) -> dict[str, float]:
        hits, sums = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
        for hu, inside, label in self.cases:
            x = torch.from_numpy(network_input(hu.astype(np.float32), inside))[None]
            pad = [(0, math.ceil(n / 16) * 16 - n) for n in reversed(x.shape[2:])]
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(F.pad(x, [n for pair in pad for n in pair]))
            a, b, c = label.shape
            found = logits.argmax(1)[0, :a, :b, :c].numpy()
            for n in range(len(CLASSES)):
                p, t = found == n, label == n
                hits[n] += 2 * (p & t).sum()
                sums[n] += p.sum() + t.sum()
        dice = hits / np.maximum(sums, 1)
        out = {name: round(float(d), 4) for name, d in zip(CLASSES, dice, strict=True)}
        out["mean"] = round(float(dice[1:].mean()), 4)
        return out
