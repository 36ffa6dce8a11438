"""The report: what it says, what it must never say, and that it needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from CardioPrecisionLib.analysis import Figure, Result, Table
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, State
from CardioPrecisionLib.report import figures, names, render
from CardioPrecisionLib.report.cine import Overlay, cine_viewer
from CardioPrecisionLib.report.display import crop_around, slice_view

RECORD = {
    "software": {
        "name": "CardioPrecision",
        "version": "0.1.0",
        "git": {"commit": "0123456789abcdef" * 2},
        "python": "3.12",
    },
    "command": ["cardioprecision", "lv-function", "/archive/Doe^John/dicom"],
    "inputs": [
        {"role": "cine_sax", "path": "/archive/Doe^John/dicom", "voxel_hash": "feedbeef00112233", "size": [9, 8, 7]}
    ],
    "labels": {"path": "/archive/Doe^John/labels.nii.gz"},
    "parameters": {"tta": 8, "folder": "/archive/Doe^John"},
    "models": [
        {"name": "some_bundle", "version": "1.2", "licence": "CC BY-NC-SA 4.0", "sha256": "c0ffee" * 10 + "beef"}
    ],
    "device": "cuda:0",
    "precision": "float16",
    "fallbacks": [{"from": "cuda:0", "to": "cpu", "reason": "out of memory"}],
    "seconds": {"load": 1.5, "run": 3.0, "analysis": {"segment": 2.0, "measure": 0.5}, "total": 4.75},
    "details": {},
    "started": "2025-01-02T03:04:05.678Z",
}


class _Page(HTMLParser):
    """Collects addresses, scripts, start/end balance and the text that a reader sees."""

    VOID = frozenset(("meta", "img", "br", "input", "link", "hr", "path", "image", "use"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.scripts: list[str] = []
        self.stack: list[str] = []
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append((tag, given))
        self.addresses += [given[k] for k in ("src", "href", "xlink:href", "srcset", "action", "data") if given.get(k)]
        if tag not in self.VOID:
            self.stack.append(tag)
            if tag == "script" and given.get("type") is None:
                self.scripts.append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        if self.stack[-1:] == ["script"]:
            if self.tags[-1][1].get("type") is None:
                self.scripts[-1] += data
        elif self.stack[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def _viewer(**more) -> bytes:
    pictures = [np.random.default_rng(s).integers(0, 255, (4, 30, 40)).astype(np.uint8) for s in range(3)]
    overlays = [Overlay("wall", "#ff0000", [["M1 1l5 5z"] * 4 for _ in range(3)])]
    return cine_viewer(
        pictures,
        (40.0, 30.0),
        overlays,
        slice_names=["a", "b </script><b>", "c"],
        frame_names=["1", "2", "3", "4"],
        marks={0: "ED"},
        cycle_ms=800.0,
        **more,
    )


def _result() -> Result:
    rows = Measurements(
        [
            Measurement("lv_edv", 150.4, "mL", low=141.0, high=160.0, level=0.9, method="slice summation"),
            Measurement("lv_edv_index", 78.26, "mL/m2", method="slice summation"),
            Measurement("lv_ef", 41.26, "%", method="slice summation"),
            Measurement.missing("heart_rate", "/min", "The header holds no heart rate."),
            Measurement.missing("scar_mass", "g", "Nothing <found>.", State.NOT_FOUND, site="aha03"),
            Measurement("cad_rads", "4A", "1"),
        ]
    )
    reference = Table(
        "reference",
        "Reference values",
        {
            "name": ["lv_ef", "lv_edv"],
            "low": [57.0, 100.0],
            "high": [77.0, 200.0],
            "z": [-3.1, 0.2],
            "source": ["Author 2015", "Author 2015"],
        },
    )
    curve = Table("volume_curve", "Volumes", {"frame": [1, 2], "lv_ml": [150.4, None]}, {"lv_ml": "mL"})
    plot = figures.new_plot(4, 3)
    axes = plot.add_subplot()
    figures.style_axes(axes)
    axes.plot([0, 1], [0, 2], color=figures.THEME["red"])
    pictures = [
        Figure("plot", "A plot", "Caption <1>", figures.to_svg(plot, "plot"), "image/svg+xml"),
        Figure("png", "A picture", "", figures.to_png(plot, 50)),
        Figure("cine", "Cine", "", _viewer(), "text/html"),
    ]
    return Result(rows, tables=[reference, curve], figures=pictures, warnings=["Slice <3> is missing & odd."])


PATIENT = Patient("abcdef0123456789", "female", 61.4, 168.0, 71.0, "2024-02-29")


@pytest.fixture(scope="module")
def html() -> str:
    return render("Some <analysis>", _result(), PATIENT, RECORD)


@pytest.fixture(scope="module")
def page(html) -> _Page:
    return _Page(html)


def test_says_what_was_found(page):
    text = page.text
    for expected in (
        "Some <analysis>",
        "LV end-diastolic volume",
        "150",
        "141–160",
        "90 %",
        "78.3",
        "mL/m²",
        "41.3",
        "lv_edv_index",
        "57.0–77.0",
        "below reference",
        "−3.1",
        "Author 2015",
        "Not assessable",
        "The header holds no heart rate.",
        "Nothing <found>.",
        "4A",
        "Slice <3> is missing & odd.",
        "slice summation",
        "Caption <1>",
        "abcdef01",
        "61 years",
        "168 cm",
        "71 kg",
        "2024-02-29",
    ):
        assert expected in text, expected
    assert "3 basal inferoseptal" in text
    assert text.count("For research use, not for clinical decisions") == 1


def test_says_how_it_was_made(page):
    text = page.text
    for expected in (
        "CardioPrecision 0.1.0",
        "commit 0123456789",
        "some_bundle 1.2",
        "CC BY-NC-SA 4.0",
        "c0ffee",
        "cuda:0",
        "float16",
        "out of memory",
        "feedbeef00112233",
        "9 × 8 × 7",
        "Segment",
        "2.0",
        "4.8",
    ):
        assert expected in text, expected


def test_says_which_model_an_analysis_recorded_in_its_details():
    model = {
        "bundle": "own_bundle",
        "version": "0.3",
        "licence": "CC0-1.0",
        "weights_sha256": {"member_0": "ab" * 32, "member_1": "cd" * 32},
        "device": "cpu",
        "precision": "bfloat16",
        "fallbacks": [{"device": "cuda", "reason": "out of memory", "then": "CPU"}],
    }
    text = _Page(render("t", Result(), Patient(), {"models": [], "device": None, "details": {"model": model}})).text
    for expected in (
        "own_bundle 0.3",
        "CC0-1.0",
        "member_1 cdcdcdcdcdcdcdcd",
        "Device cpu",
        "Precision bfloat16",
        "reason out of memory",
    ):
        assert expected in text, expected


def test_never_shows_identifiers(html):
    for secret in ("Doe", "archive", "abcdef0123", "lv-function"):
        assert secret not in html


def test_needs_nothing_beside_it(page, html):
    assert page.addresses
    assert all(a.startswith(("data:image/", "#")) for a in page.addresses), [a[:40] for a in page.addresses]
    css = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "@import" not in css
    assert "url(" not in css
    assert not [t for t, _ in page.tags if t in ("link", "iframe", "object", "embed", "base", "form")]
    assert not [k for _, attrs in page.tags for k in attrs if k.startswith("on")]


def test_policy_lets_only_the_own_scripts_run(page):
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert page.scripts
    for script in page.scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "script-src 'unsafe" not in policy


def test_a_script_in_a_picture_is_not_trusted():
    bad = Figure("x", "x", "", b"<svg><script>alert(1)</script></svg>", "image/svg+xml")
    page = _Page(render("t", Result(figures=[bad]), Patient(), {}))
    assert "script-src 'none'" in next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))


def test_colour_schemes_and_print_are_provided_for(html):
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html
    assert "@media (max-width:640px)" in html
    assert "var(--plot-red, #c8362e)" in html


def test_the_least_that_can_be_reported():
    page = _Page(render("Empty", Result(), Patient(), {}))
    assert "Nothing could be measured" in page.text
    assert "For research use, not for clinical decisions" in page.text


def test_an_analysis_names_its_headline():
    rows = Measurements([Measurement("lv_ef", 60.0, "%"), Measurement("something_new", 3.14159, "1")])
    html = render("t", Result(rows, record={"headline": ["something_new"]}), Patient(), {})
    cards = html[html.index('class="cards"') : html.index("All measurements")]
    assert "Something new" in cards
    assert "3.14" in cards
    assert "LV ejection fraction" not in cards


def test_too_large_figures_are_left_out_and_named():
    big = [Figure(f"p{n}", f"Picture {n}", "", bytes(2_000_000)) for n in range(3)]
    html = render("t", Result(figures=big), Patient(), {})
    assert len(html) < 6_000_000
    assert html.count("too large for the report") == 2


def test_long_tables_are_folded_and_cut():
    table = Table("long", "Long", {"n": list(range(500))})
    text = _Page(render("t", Result(tables=[table]), Patient(), {})).text
    assert "500 rows" in text
    assert "300 more rows are in long.csv" in text


def test_unknown_figure_type_is_refused():
    with pytest.raises(ValueError, match="x-odd"):
        render("t", Result(figures=[Figure("x", "x", "", b"", "image/x-odd")]), Patient(), {})


# -- names -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("lv_edv", "LV end-diastolic volume"),
        ("rv_edv_index", "RV end-diastolic volume index"),
        ("wall_thickness_ed_mean", "Wall thickness at end-diastole, mean"),
        ("wall_thickening_sd", "Systolic wall thickening, SD"),
        ("lv_peak_filling_rate", "LV peak filling rate"),
        ("plaque_volume_low_attenuation", "Plaque volume low attenuation"),
        ("ed", "At end-diastole"),
        ("x", "X"),
    ],
)
def test_titles(name, title):
    assert names.title_of(name) == title


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (57.26, "%", "57.3\u00a0%"),
        (142.6, "mL", "143\u00a0mL"),
        (61.23, "mL", "61.2\u00a0mL"),
        (70.04, "mL/m2", "70.0\u00a0mL/m²"),
        (63.4, "/min", "63\u00a0bpm"),
        (9.23, "mm", "9.2\u00a0mm"),
        (5.25, "L/min", "5.2\u00a0L/min"),
        (432.1, "mL/s", "432\u00a0mL/s"),
        (-18.34, "%", "−18.3\u00a0%"),
        (0.12345, "1", "0.123"),
        (12.0, "1", "12"),
        (1234.5, "1", "1234"),
        (-0.01, "mm", "0.0\u00a0mm"),
        (None, "mL", "–"),
        ("4A", "1", "4A"),
        (130.0, "[hnsf'U]", "130\u00a0HU"),
        (0.00012345, "mol", "0.000123\u00a0mol"),
    ],
)
def test_quantities(value, unit, shown):
    assert names.quantity(value, unit) == shown


def test_spans():
    assert names.span(52.04, 79.0, "%") == "52.0–79.0"
    assert names.span(-22.0, -16.0, "%") == "−22.0 to −16.0"
    assert names.span(None, 5.0, "mm") == "≤ 5.0"
    assert names.span(None, None, "mm") == ""


# -- pictures ----------------------------------------------------------------------------------------------------------
def _area_and_centre(points):
    x, y = points.T
    cross = x * np.roll(y, -1) - y * np.roll(x, -1)
    area = cross.sum() / 2
    return (
        abs(area),
        ((x + np.roll(x, -1)) * cross).sum() / (6 * area),
        ((y + np.roll(y, -1)) * cross).sum() / (6 * area),
    )


@pytest.mark.parametrize(("radius", "share"), [(4.0, 0.06), (12.0, 0.01), (35.0, 0.005)])
def test_outline_keeps_area_and_place(radius, share):
    row, column = np.mgrid[:90, :110] + 0.5
    mask = np.hypot(row - 44.2, column - 52.7) < radius
    (line,) = figures.outlines(mask)
    area, x, y = _area_and_centre(figures.simplify(line, 0.1))
    assert area == pytest.approx(mask.sum(), rel=share)
    assert (x, y) == pytest.approx((52.7, 44.2), abs=0.25)


def test_outlines_of_little_and_of_nothing():
    assert figures.outlines(np.zeros((5, 5), bool)) == []
    dot = np.zeros((9, 9), bool)
    dot[0, 8] = True
    (line,) = figures.outlines(dot)
    assert line.mean(0) == pytest.approx((8.5, 0.5), abs=0.2)
    two = np.zeros((30, 30), bool)
    two[3:12, 3:12] = two[16:28, 16:28] = True
    two[20:24, 20:24] = False
    assert len(figures.outlines(two)) == 3


def test_path_is_in_tenths_of_a_millimetre():
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:15] = True
    path = figures.path_of(mask, row_mm=2.0, column_mm=1.5)
    x, y = map(int, re.match(r"M(-?\d+) (-?\d+)l", path).groups())
    steps = np.array(re.findall(r"(-?\d+) (-?\d+)", path[path.index("l") :]), int)
    points = np.cumsum(np.vstack([[x, y], steps]), axis=0) / 10
    assert path.endswith("z")
    assert points.min(0) == pytest.approx((7.5, 20.0), abs=0.2)
    assert points.max(0) == pytest.approx((22.5, 60.0), abs=0.2)


def test_svg_is_well_formed_themed_and_reproducible():
    def draw():
        plot = figures.new_plot(3, 2)
        axes = plot.add_subplot()
        figures.style_axes(axes)
        axes.plot([1, 2], [3, 4], color=figures.THEME["blue"])
        axes.set_title("text stays text")
        return figures.to_svg(plot, "name")

    svg = draw()
    assert svg == draw()
    root = ET.fromstring(svg.decode())
    assert "text stays text" in "".join(root.itertext())
    ids = re.findall(rb'\bid="([^"]+)"', svg)
    assert all(i.startswith(b"name-") for i in ids)
    assert len(ids) == len(set(ids))
    used = set(re.findall(rb'(?:url\(|href=")#([^")]+)', svg))
    assert used <= set(ids)


def test_viewer_fits_its_budget_and_cannot_break_out():
    big, small = _viewer(), _viewer(budget_bytes=15_000)
    assert len(small) < len(big)
    block = re.search(rb'<script type="application/json">(.*?)</script>', big, re.DOTALL)[1]
    assert b"<" not in block
    assert _Page(big.decode()).text.count("Play") == 1


# -- display -----------------------------------------------------------------------------------------------------------
def _random_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


@pytest.mark.parametrize(
    ("columns", "right", "bottom"),
    [
        (np.diag([-1, -1, 1]), "L", "P"),
        (np.diag([1, 1, 1]), "L", "P"),
        (np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]]), "L", "F"),
        (np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), "P", "F"),
    ],
)
def test_standard_planes_follow_the_convention(columns, right, bottom):
    affine = np.eye(4)
    affine[:3, :3] = columns
    view = slice_view(affine)
    tilt = affine.copy()
    c, s = np.cos(0.1), np.sin(0.1)
    tilt[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ columns
    assert view.letters == {}  # an axis-aligned file may have lost its orientation
    assert slice_view(tilt).letters["right"][0] == right
    assert slice_view(tilt).letters["bottom"][0] == bottom


@pytest.mark.parametrize("seed", range(8))
def test_the_same_slice_looks_the_same_however_it_is_stored(seed):
    """Any flip or transposition of the stored axes gives the same picture, also for oblique planes."""
    rng = np.random.default_rng(seed)
    affine = np.eye(4)
    affine[:3, :3] = _random_rotation(rng) * [1.3, 1.7, 8.0]
    plane = rng.random((6, 9))
    view = slice_view(affine)
    expected, size = view.apply(plane), (view.row_mm, view.column_mm)
    flip_i, flip_j = affine.copy(), affine.copy()
    flip_i[:3, 0] *= -1
    flip_j[:3, 1] *= -1
    swap = affine[:, [1, 0, 2, 3]]
    for other, stored in ((flip_i, plane[::-1]), (flip_j, plane[:, ::-1]), (swap, plane.T)):
        again = slice_view(other)
        np.testing.assert_array_equal(again.apply(stored), expected)
        assert (again.row_mm, again.column_mm) == pytest.approx(size)
    # Picture axes agree with the patient axes that they are said to have.
    i, j = view.direction(1.0, 0.0), view.direction(0.0, 1.0)
    for (right, down), axis in ((i, 0), (j, 1)):
        np.testing.assert_allclose(
            right * view.right + down * view.down, affine[:3, axis] / np.linalg.norm(affine[:3, axis])
        )


def test_crop_is_square_in_mm_and_inside():
    mask = np.zeros((100, 80), bool)
    mask[2:10, 40:60] = True
    crop = crop_around(mask, row_mm=2.0, column_mm=1.0, margin_mm=5.0)
    rows, columns = crop.shape
    assert (crop.top, rows * 2.0, columns * 1.0) == (0, 30.0, 30.0)
    assert mask[crop.window].sum() == mask.sum()
    assert crop_around(np.zeros((5, 7), bool), 1, 1).shape == (5, 7)
