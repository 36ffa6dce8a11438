"""Small angiograms for the tests of middle lines and stenoses."""

import numpy as np
from CardioPrecisionLib.phantom.ccta import Scene, around, path, render_ccta
from CardioPrecisionLib.polyline import even_steps
from CoronaryPlaqueLib.seeds import VesselSeeds
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

TURN = Rotation.from_euler("xyz", (25, -35, 50), degrees=True).as_matrix()


def seeds(points, ends=(6, -6), name="LAD", off=(0.0, 0.0, 0.0)):
    """Ostium and distal point on a line ``(n, 3)``, each moved by `off` mm."""
    shift = np.asarray(off, float)
    return VesselSeeds(name, points[ends[0]] + shift, points[ends[1]] - shift, np.zeros((0, 3)))


def judge(line, points, radii):
    """Distances (mm) of a middle line to the truth, the truth's radius there, and the share of the truth it covers."""
    truth = even_steps(np.column_stack([points, radii]), 0.1)
    distance, nearest = cKDTree(truth[:, :3]).query(line.points)
    back, _ = cKDTree(line.points).query(truth[:, :3])
    return distance, truth[nearest, 3], float((back < np.maximum(truth[:, 3], 0.5)).mean())


def scanned(scene: Scene, name: str, *, until_mm: float = np.inf, margin_mm: float = 14.0, **more):
    """An angiogram of one artery of a patient, with the truth from its ostium to `until_mm` along the way."""
    points, radii = path(scene.vessels, name)
    s = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    keep = (s < until_mm) & (np.maximum.accumulate(radii < 0.6) == 0)
    points, radii = points[keep], radii[keep]
    grid = {k: more.pop(k) for k in ("spacing_mm", "rotation", "flips") if k in more}
    sample = render_ccta(scene, around(points, margin_mm=margin_mm, **grid), **more)
    return sample.image, points, radii
