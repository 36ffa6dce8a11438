"""Training and judging of the candidate classifier on synthetic chests, with truth for every candidate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from CardioPrecisionLib.image import Array
from CardioPrecisionLib.replacing import replacing

from .axial import axial
from .calling import N_CLASSES, call_features, features_of
from .candidates import FEATURES, Candidate, find_candidates
from .territory import coarse, coverage_problem, find_territories
from .vessels import CORONARY, OTHER, SITES

#: Share of a candidate's voxels that must belong to calcifications for it to be one.
_OWNED = 0.2


def truth_of(
    candidate: Candidate, owner: Array, bones: Array, calcifications: Sequence[Any]
) -> tuple[int, str, list[int]]:
    """Label and kind (the calcification's site, ``bone`` or ``noise``) of a candidate, and whose voxels it holds."""
    owners = owner[tuple(candidate.at)]
    counts = np.bincount(owners)
    held = (np.flatnonzero(counts[1:])).tolist()
    if (owners > 0).mean() >= _OWNED:
        counts[0] = 0
        found = calcifications[int(counts.argmax()) - 1]
        return int(found["label"]), str(found["site"]), held
    return OTHER, "bone" if bones[tuple(candidate.at)].any() else "noise", held


#: Share of scans with slices of 1.25 mm, which are noisy.
THIN = 0.08


def scan_of(patient: Any, seed: int, thin: float = THIN, edges: float = 0.0) -> Any:
    """A scan of a synthetic patient as clinics make them: field, slices, noise, kernel and tilt drawn by `seed`.

    A share `thin` has slices of 1.25 mm, a share `edges` of these the kernel of a lung scan, whose edges overshoot.
    """
    from .territory_training import _turn

    rng = np.random.default_rng([seed, 55])
    chest = rng.random() < 0.25
    thickness, step = [(3.0, 3.0), (2.5, 2.5), (3.0, 1.5), (1.25, 1.25)][
        int(rng.choice(4, p=[0.70 - thin, 0.2, 0.1, thin]))
    ]
    geometry = patient.geometry(
        "chest" if chest else "cardiac",
        matrix=int(rng.integers(320, 420)) if chest else int(rng.integers(270, 350)),
        field_mm=float(rng.uniform(320, 400)) if chest else float(rng.uniform(200, 250)),
        thickness_mm=thickness,
        increment_mm=step,
        circle=bool(rng.random() < 0.3),
        rotation=_turn(rng.normal(0, 3, 3)),
    )
    kernels: list[Any] = ["soft", "medium", "sharp"]
    kernel = kernels[int(rng.choice(3, p=[0.4, 0.4, 0.2]))]
    if thickness < 2.0 and np.random.default_rng([seed, 56]).random() < edges:
        kernel = "lung"
    # Thin slices are noisier at the same dose.
    noise = float(rng.uniform(8, 26)) * (1.5 if thickness < 2.0 else 1.0)
    return patient.render(geometry, noise_hu=noise, kernel=kernel, seed=seed)


#: Patients of the first generator from this seed on have a stent: few others have one.
STENTS_FROM = 2000


def _patient(generator: str, seed: int, wide: bool) -> Any:
    from CardioPrecisionLib.phantom import ct

    from .territory_training import is_wide

    calcium: Any = "heavy" if seed % 5 == 0 else "random"
    if generator == "second":
        return ct.second_thorax(seed, calcium=calcium)
    stent = True if seed >= STENTS_FROM else None
    return ct.random_thorax(seed, calcium=calcium, stent=stent, wide=wide and is_wide(seed))


def measure(given: tuple[str, int], wide: bool = False, thin: float = THIN, edges: float = 0.0) -> dict[str, Any]:
    """Candidates of one synthetic patient with features, truth and the calcifications that gave none.

    Parameters
    ----------
    given : (str, int)
        Generator (``first`` or ``second``) and seed.
    wide : bool
        Three hearts in four of generator one are wide ones.
    thin, edges : float
        Of `scan_of`.
    """
    generator, seed = given
    torch.set_num_threads(1)
    patient = _patient(generator, seed, wide)
    sample = scan_of(patient, seed, thin, edges)
    found = find_territories(coarse(sample.image), device="cpu", threads=1)
    problem = coverage_problem(found)
    candidates = find_candidates(sample.image, found)
    turned = {
        name: axial(sample.image.with_array(getattr(sample, name).astype(np.int32))).array
        for name in ("owner", "bones")
    }
    listed = sample.truth["calcifications"]
    pairs = [truth_of(c, turned["owner"], turned["bones"] > 0, listed) for c in candidates]
    held = {n for pair in pairs for n in pair[2]}
    return {
        "seed": seed,
        "problem": problem,
        "features": features_of(candidates),
        "label": np.array([p[0] for p in pairs], np.uint8),
        "kind": [p[1] for p in pairs],
        "calcifications": [
            {"site": str(c["site"]), "in_view_mm3": float(c["in_view_mm3"]), "hu": float(c["hu"]), "found": n in held}
            for n, c in enumerate(listed)
        ],
    }


def measured(
    folder: str | Path,
    generator: str,
    first: int,
    count: int,
    workers: int = 2,
    wide: bool = False,
    thin: float = THIN,
    edges: float = 0.0,
) -> list[dict[str, Any]]:
    """`measure` of many patients, each made once and kept in `folder`, which is for one choice of the last three."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(range(first, first + count))
    files = {seed: folder / f"{generator}-{seed}.npz" for seed in seeds}
    todo = [seed for seed in seeds if not files[seed].exists()]
    if todo:
        make = partial(measure, wide=wide, thin=thin, edges=edges)
        with ProcessPoolExecutor(workers) as pool:
            for seed, row in zip(todo, pool.map(make, [(generator, s) for s in todo]), strict=True):
                facts = json.dumps({k: row[k] for k in ("seed", "problem", "kind", "calcifications")})
                with replacing(files[seed]) as beside:
                    np.savez(beside, features=row["features"], label=row["label"], facts=facts)
    rows = []
    for seed in seeds:
        with np.load(files[seed]) as stored:
            rows.append({"features": stored["features"], "label": stored["label"], **json.loads(str(stored["facts"]))})
    return rows


_SITES_AT, _SHARES = FEATURES.index("p sites"), slice(FEATURES.index("share LM"), FEATURES.index("x in heart"))
_HEART_AT, _PLACE = FEATURES.index("p heart"), slice(FEATURES.index("x in heart"), FEATURES.index("log volume"))
_FRAME = slice(FEATURES.index("along ventricle"), FEATURES.index("from LM territory"))
_FAR = slice(FEATURES.index("from LM territory"), len(FEATURES))


class CallTrainer:
    """Trains the classifier's members on measured candidates; what a ``train.yaml`` runs.

    Parameters
    ----------
    networks : list of torch.nn.Module
    rows : list of dict
        Of `measured`.
    output : path
        Weight files ``call1.pt``… and ``settings.json`` (features, mean, sd).
    """

    def __init__(
        self,
        networks: Sequence[torch.nn.Module],
        rows: Sequence[dict[str, Any]],
        output: str | Path,
        epochs: int = 60,
        learning_rate: float = 2e-3,
        seed: int = 0,
    ):
        self.networks, self.output = list(networks), Path(output)
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed
        kept = [r for r in rows if not r["problem"]]
        self.x = np.concatenate([r["features"] for r in kept]).astype(np.float32)
        self.y = np.concatenate([r["label"] for r in kept]).astype(np.int64) - 1

    @staticmethod
    def _less_sure(x: Array, rng: np.random.Generator) -> Array:
        """Features as the territory network gives them on hearts that it knows less well: less sure, and beside."""
        x = x.copy()
        n = len(x)
        keep = rng.uniform(0.25, 1.0, n).astype(np.float32)
        x[:, _HEART_AT] += x[:, _SITES_AT] * (1 - keep)
        x[:, _SITES_AT] *= keep
        mix = rng.uniform(0.0, 0.45, (n, 1)).astype(np.float32)
        shares = x[:, _SHARES]
        x[:, _SHARES] = (1 - mix) * shares + mix * rng.dirichlet(np.ones(shares.shape[1]), n).astype(np.float32)
        # Each by what a landmark or border is off by: some 8 mm, 4 mm, 4 mm.
        for part, sd in ((_PLACE, 0.2), (_FRAME, 0.1), (_FAR, 0.2)):
            x[:, part] += rng.normal(0, sd, x[:, part].shape).astype(np.float32)
        return x

    def run(self) -> None:
        """Train every member from its own start and write the files."""
        mean, sd = self.x.mean(0), np.maximum(self.x.std(0), 1e-3)
        y = torch.from_numpy(self.y)
        # The square root of the frequency: rare sites count, and the probabilities stay close to what they say.
        counts = np.bincount(self.y, minlength=N_CLASSES)
        weight = torch.from_numpy((np.sqrt(counts.max() / np.maximum(counts, 1))).astype(np.float32))
        self.output.mkdir(parents=True, exist_ok=True)
        for n, network in enumerate(self.networks, 1):
            torch.manual_seed(self.seed + n)
            rng = np.random.default_rng(self.seed + n)
            for module in network.modules():
                if isinstance(module, torch.nn.Linear):
                    module.reset_parameters()
            steps = self.epochs * max(len(y) // 64, 1)
            optimizer = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=0.02)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=steps)
            network.train()
            for _ in range(steps):
                pick = torch.randint(len(y), (64,))
                varied = (self._less_sure(self.x[pick.numpy()], rng) - mean) / sd
                noisy = torch.from_numpy(varied) + 0.1 * torch.randn(64, len(mean))
                loss = F.cross_entropy(network(noisy), y[pick], weight=weight, label_smoothing=0.02)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            torch.save(network.eval().state_dict(), self.output / f"call{n}.pt")
        settings = {"features": list(FEATURES), "mean": mean.tolist(), "sd": sd.tolist()}
        (self.output / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


#: Coronary calcium of at least this volume and density must be found; less may drown in noise and partial volume.
_CLEAR_MM3, _CLEAR_HU = 8.0, 250.0


def judge(rows: Sequence[dict[str, Any]], target: str | Path | None = None) -> dict[str, Any]:
    """How the shipped bundles call the candidates of `measured`, kind by kind; written as JSON where asked.

    Returns
    -------
    dict
        ``confusion``: kind of candidate -> counts by called label (LM … other); ``accuracy`` over all candidates,
        ``coronary_accuracy`` of coronary ones (the right artery), ``other_as_coronary`` the share of the others that
        were called coronary; ``clear_found`` the share of clear coronary calcifications that a candidate
        holds; ``cut_off`` patients whose whole heart was said to be cut off.
    """
    kept = [r for r in rows if not r["problem"]]
    x = np.concatenate([r["features"] for r in kept])
    truth = np.concatenate([r["label"] for r in kept]).astype(int)
    kinds = [kind for r in kept for kind in r["kind"]]
    called = call_features(x).label.astype(int)
    confusion: dict[str, list[int]] = {}
    order = [*SITES.values(), *sorted(set(kinds) - set(SITES.values()))]
    for kind in order:
        own = np.array([k == kind for k in kinds])
        if own.any():
            confusion[kind] = np.bincount(called[own] - 1, minlength=N_CLASSES).tolist()
    coronary = np.isin(truth, CORONARY)
    clear = [
        c["found"]
        for r in kept
        for c in r["calcifications"]
        if c["site"] in [SITES[n] for n in CORONARY] and c["in_view_mm3"] >= _CLEAR_MM3 and c["hu"] >= _CLEAR_HU
    ]
    out = {
        "patients": len(rows),
        "cut_off": len(rows) - len(kept),
        "candidates": len(truth),
        "coronary": int(coronary.sum()),
        "accuracy": round(float((called == truth).mean()), 4),
        "coronary_accuracy": round(float((called == truth)[coronary].mean()), 4),
        "other_as_coronary": round(float(np.isin(called[~coronary], CORONARY).mean()), 4),
        "clear_coronary": len(clear),
        "clear_found": round(float(np.mean(clear)), 4) if clear else None,
        "labels": [*SITES.values(), "other"],
        "confusion": confusion,
    }
    if target is not None:
        with replacing(target) as beside:
            beside.write_text(json.dumps(out, indent=1), encoding="utf-8")
    return out
