"""Figures of LV function, on a heart of discs whose place and size are known."""

from __future__ import annotations

import base64
import io
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from CardioPrecisionLib.analysis import Result
from CardioPrecisionLib.image import Sequence
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient
from CardioPrecisionLib.report import render
from CardioPrecisionLib.report.display import slice_view
from LVFunctionLib.figures import base_to_apex, make_figures
from LVFunctionLib.plots import _screen_angle
from LVFunctionLib.segments import LV, MYOCARDIUM, RV
from PIL import Image

SPACING = (1.4, 1.6, 9.0)


def _affine(tilt: float = 0.5) -> np.ndarray:
    """Stored rows to the left, columns to the back and feet, slices to the apex, tilted as a short axis is."""
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.0, -1.0, -1.0]) * SPACING
    affine[:3, 3] = (40, -20, 100)
    return affine


def _heart(frames: int = 6, slices: int = 7, shape: tuple[int, int] = (96, 84)):
    """Images and labels: LV centred at (50, 40) mm-independent voxels, RV on its low-i side, empty end slices."""
    i, j = np.mgrid[: shape[0], : shape[1]]
    labels = np.zeros((frames, *shape, slices), np.uint8)
    for t in range(frames):
        squeeze = 1 - 0.3 * np.sin(np.pi * t / frames)
        for k in range(1, slices - 1):
            size = 1 - 0.09 * k
            left = np.hypot((i - 50) * SPACING[0], (j - 40) * SPACING[1])
            right = np.hypot((i - 22) * SPACING[0], (j - 40) * SPACING[1])
            plane = labels[t, :, :, k]
            plane[right < 24 * size * squeeze] = RV
            plane[left < 34 * size] = MYOCARDIUM
            plane[left < 25 * size * squeeze] = LV
    images = np.choose(labels, [60, 900, 300, 850]).astype(np.int16)
    return images, labels


def _curve(labels: np.ndarray, times: bool = True) -> dict:
    ml = float(np.prod(SPACING)) / 1000
    n = len(labels)
    return {
        "frame": list(range(1, n + 1)),
        "time_ms": [40.0 * t for t in range(n)] if times else [None] * n,
        **{
            key: list((labels == value).sum((1, 2, 3)) * ml)
            for key, value in (("lv_ml", LV), ("rv_ml", RV), ("myocardium_ml", MYOCARDIUM))
        },
    }


def _figures(images, labels, affine=None, ed=0, es=None, **more):
    sequence = Sequence.from_array(images, _affine() if affine is None else affine)
    es = len(images) // 2 if es is None else es
    made = make_figures(sequence, labels, ed, es, more.pop("curve", _curve(labels)), **more)
    return {f.name: f for f in made}


def _text(svg: bytes) -> str:
    return " ".join("".join(ET.fromstring(svg.decode()).itertext()).split())


def _data(fragment: bytes) -> dict:
    return json.loads(re.search(rb'<script type="application/json">(.*?)</script>', fragment, re.DOTALL)[1])


def _points(path: str) -> np.ndarray:
    """Corners of an SVG path of this product's making, in mm."""
    out = []
    for piece in filter(None, path.split("M")):
        start, steps = piece.rstrip("z").split("l")
        first = np.array(start.split(), float)
        moves = np.array(steps.split(), float).reshape(-1, 2)
        out.append(np.cumsum(np.vstack([first, moves]), axis=0))
    return np.vstack(out) / 10


def test_a_cycle_gives_outlines_viewer_and_curve():
    images, labels = _heart()
    made = _figures(images, labels)
    assert list(made) == ["contours", "cine", "volume_curve"]
    contours = made["contours"].data.decode()
    assert contours.count("<image ") == 7 * 2  # five labelled slices and one beyond at either end, ED and ES
    assert contours.count("<path ") == 5 * 2 * 3
    assert contours.index("Slice 1, base") < contours.index("Slice 7, apex")
    data = _data(made["cine"].data)
    assert (data["frames"], len(data["sprites"]), len(data["overlays"])) == (6, 7, 3)
    assert data["frameNames"][3] == "Frame 4 of 6 · 120 ms · ES"
    assert data["frameMs"] == pytest.approx(40.0)
    text = _text(made["volume_curve"].data)
    for word in ("ED", "ES", "Volume (mL)", "Time (ms)", "LV cavity", "RV cavity", "LV myocardium"):
        assert word in text


def test_outlines_lie_on_the_image():
    """The bright cavity in the viewer's picture fills exactly the outline drawn over it."""
    images, labels = _heart(frames=2)
    data = _data(_figures(images, labels)["cine"].data)
    sprite = np.asarray(Image.open(io.BytesIO(base64.b64decode(data["sprites"][2].split(",")[1]))))
    picture = sprite[: data["height"], : data["width"]].astype(float)
    points = _points(data["overlays"][0]["paths"][2][0])
    scale = data["width"] / data["widthMm"]
    x, y = points.T * scale
    row, column = np.mgrid[: data["height"], : data["width"]] + 0.5
    inside = np.hypot((column - x.mean()), (row - y.mean())) < 0.9 * 25 * 0.82 * scale
    assert (x.max() - x.min()) / scale == pytest.approx(2 * 25 * 0.82, abs=1.5)
    bright = picture[inside]
    assert bright.min() > 200
    ring = np.hypot((column - x.mean()), (row - y.mean())) / scale
    assert picture[(ring > 25 * 0.82 + 2) & (ring < 34 * 0.82 - 2)].max() < 150


def test_the_patient_is_shown_the_same_way_round_however_stored():
    """Stored with flipped or exchanged axes, the same heart gives the same pictures, byte for byte."""
    images, labels = _heart(frames=2)
    affine = _affine()
    expected = _figures(images, labels)
    flip_i, flip_j = affine.copy(), affine.copy()
    flip_i[:3, 3] += affine[:3, 0] * (images.shape[1] - 1)
    flip_i[:3, 0] *= -1
    flip_j[:3, 3] += affine[:3, 1] * (images.shape[2] - 1)
    flip_j[:3, 1] *= -1
    for stored, other in (
        (lambda a: a[:, ::-1], flip_i),
        (lambda a: a[:, :, ::-1], flip_j),
        (lambda a: a.swapaxes(1, 2), affine[:, [1, 0, 2, 3]]),
    ):
        made = _figures(stored(images), stored(labels), other)
        assert made["contours"].data == expected["contours"].data
        assert made["cine"].data == expected["cine"].data
    # The RV, on the patient's right, is on the left of the picture.
    data = _data(expected["cine"].data)
    left, right = (_points(data["overlays"][n]["paths"][2][0]).mean(0)[0] for n in (0, 2))
    assert right < left
    assert data["letters"]["left"].startswith("R")


@pytest.mark.parametrize("reverse", [False, True])
def test_base_comes_first(reverse):
    _, labels = _heart(frames=1)
    affine = _affine()
    stored = labels[..., ::-1] if reverse else labels
    order = base_to_apex(stored, affine, 0)
    assert order == (list(range(7))[::-1] if reverse else list(range(7)))
    # Without labels the direction in the patient decides.
    away = affine.copy()
    away[:3, 2] = np.array([5.0, -5.0, 5.0])
    assert base_to_apex(np.zeros_like(labels), away, 0)[0] == 6
    away[:3, 2] *= -1
    assert base_to_apex(np.zeros_like(labels), away, 0)[0] == 0


def test_two_phases():
    images, labels = _heart(frames=2)
    made = _figures(images, labels, es=1, curve=_curve(labels, times=False))
    assert list(made) == ["contours", "cine", "volume_curve"]
    assert "two phases" in made["volume_curve"].caption
    assert "Frame" in _text(made["volume_curve"].data)


def test_single_phase():
    images, labels = _heart(frames=1)
    made = _figures(images, labels, es=0)
    assert list(made) == ["contours", "cine"]
    assert made["contours"].data.decode().count("<image ") == 7
    assert b'data-part="play"' not in made["cine"].data


def test_no_labels_at_all():
    images, labels = _heart(frames=2)
    made = _figures(images, np.zeros_like(labels), es=1)
    assert list(made) == ["contours", "cine"]
    assert "Nothing was segmented" in made["contours"].caption
    assert b"<path " not in made["contours"].data


def test_only_two_frames_outlined():
    images, labels = _heart()
    labels[[1, 2, 4, 5]] = 0
    curve = _curve(labels)
    for key in ("lv_ml", "rv_ml", "myocardium_ml"):
        curve[key] = [v if v else None for v in curve[key]]
    made = _figures(images, labels, curve=curve)
    assert f"LV cavity {curve['lv_ml'][0]:.0f} to {curve['lv_ml'][3]:.0f} mL" in made["volume_curve"].caption


def test_intervals_become_bars():
    images, labels = _heart()
    rows = Measurements([Measurement("lv_edv", 100.0, "mL", low=90.0, high=110.0, level=0.9)])
    assert "Bars are" in _figures(images, labels, measurements=rows)["volume_curve"].caption
    assert "Bars are" not in _figures(images, labels)["volume_curve"].caption


def test_wall_map_and_where_its_sectors_stand():
    images, labels = _heart(frames=2)
    edges = {"from_deg": [0.0, 60.0, 300.0], "to_deg": [60.0, 120.0, 360.0]}
    wall = {"slice": [2, 2, 3], "sector": [1, 2, 6], "ed_mm": [8.0, 9.0, None], "es_mm": [12.0, None, 5.0], **edges}
    made = _figures(images, labels, es=1, wall=wall)
    text = _text(made["wall_map"].data)
    assert "Thickness at end-diastole" in text
    assert "Systolic thickening" in text
    assert re.search(r"\b50\b", text)  # (12 - 8) / 8
    assert "slices 2 (outside, base) to 2" in made["wall_map"].caption
    assert "wall_map" not in _figures(images, labels, es=1, wall={c: [] for c in wall})
    view = slice_view(_affine())  # i runs to the right of the screen, j downwards
    assert (view.transpose, view.flip_rows, view.flip_columns) == (True, False, False)
    assert _screen_angle(view, 0.0) == pytest.approx(0.0)
    assert _screen_angle(view, np.pi / 2) == pytest.approx(-np.pi / 2)


def test_a_large_study_stays_small():
    """30 frames of 12 noisy slices, the worst that JPEG can meet, in one report below 6 MB."""
    images, labels = _heart(frames=30, slices=12)
    noisy = images + np.random.default_rng(0).normal(0, 120, images.shape).astype(np.int16)
    made = _figures(noisy, labels)
    assert len(made["cine"].data) < 3_600_000
    html = render("LV", Result(figures=list(made.values())), Patient(), {})
    assert len(html) < 6_000_000
    assert "too large" not in html


def test_labels_off_the_grid_are_refused():
    images, labels = _heart(frames=2)
    with pytest.raises(ValueError, match="do not lie on"):
        _figures(images, labels[:, :-1], es=1)
