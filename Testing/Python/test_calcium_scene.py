"""Coronary calcium node to node on slicer-core: the same numbers, all or nothing, saved and opened, both processes."""

from __future__ import annotations

import json

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", reason="needs slicer-core (extra 'mrml')")

from calcium_cases import copies, numbers, score_files, solids, write_labels  # noqa: E402
from CardioPrecisionLib import scene as mrml  # noqa: E402
from CardioPrecisionLib.analysis import LabelMap, Result  # noqa: E402
from CardioPrecisionLib.errors import Cancelled, InputError  # noqa: E402
from CardioPrecisionLib.image import Image, write_nifti  # noqa: E402
from CardioPrecisionLib.measurement import Measurement, Measurements, Patient, document  # noqa: E402
from CardioPrecisionLib.scene_batch import SceneBatch, children_of, nodes_of  # noqa: E402
from CardioPrecisionLib.segfile import segment_id  # noqa: E402
from CoronaryPlaqueLib import scene_logic  # noqa: E402
from CoronaryPlaqueLib.calcium import CalciumParameters  # noqa: E402
from CoronaryPlaqueLib.scoring import score  # noqa: E402
from CoronaryPlaqueLib.vessels import LAD, OTHER, RCA, SEGMENTS, SITES  # noqa: E402
from scene_cases import cancelling, contents, fail_at  # noqa: E402

QUIET = CalciumParameters(figures=False)
WHO = {"sex": "male", "age_years": 66.0}


@pytest.fixture(scope="module")
def ct():
    """A body with calcium of all seven sites, 1 mm pixels and slices of 2 mm, and a reader's labels."""
    return solids(1.0, 2.0)


@pytest.fixture
def app(tmp_path):
    (tmp_path / "cache").mkdir()
    return mrml.MrmlApplication(str(tmp_path / "cache"))


def add_ct(scene, image):
    with SceneBatch(scene, "input") as batch:
        node = mrml.image_to_node(batch, image, "DOE JOHN calcium score")
        batch.item(node)
    return node


def add_labels(scene, image, labels, node, name="reader"):
    with SceneBatch(scene, name) as batch:
        return mrml.segmentation_to_node(batch, LabelMap(labels[None], image.affine, SEGMENTS), 0, name, node)


def voxels(segmentation, grid):
    """The labels of a segmentation node on a grid, read voxel by voxel from MRML."""
    found = np.zeros(grid.shape, np.uint8)
    for meaning in SEGMENTS:
        image = slicer.vtkOrientedImageData()
        assert segmentation.GetBinaryLabelmapRepresentation(segment_id(meaning), image)
        matrix = mrml.vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        index = np.argwhere(mrml.image_array(image, "") > 0) + image.GetExtent()[::2]
        world = Image(np.zeros((1, 1, 1)), mrml.matrix_to_array(matrix)).to_world(index)
        found[tuple(np.rint(grid.to_index(world)).astype(int).T)] = meaning.value
    return found


def same(found, expected, rel):
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == (pytest.approx(value, rel=rel) if isinstance(value, float) else value), key


def column(node, name):
    table = node.GetTable()
    return [table.GetColumnByName(name).GetValue(r) for r in range(table.GetNumberOfRows())]


def test_node_to_node(app, ct):
    image, labels = ct
    node = add_ct(app.scene, image)
    reader = add_labels(app.scene, image, labels, node)
    done = scene_logic.run_on_nodes(
        app.scene, node, labels_node=reader, run_id="run-1", patient=Patient(**WHO), parameters=QUIET
    )
    truth, found = score(image, labels), numbers(done)
    for label, site in SITES.items():
        assert truth.by_label[label].agatston > 0
        assert found["agatston_score", site] == pytest.approx(truth.by_label[label].agatston)
        assert found["calcium_volume", site] == pytest.approx(truth.by_label[label].volume_mm3)
    assert found["aortic_valve_stenosis_likelihood", "aortic_valve"] == "unlikely"  # the patient has come along
    assert found["cac_percentile_hoff", None] != "not_assessable"
    assert any("says nothing of tube voltage" in text for text in done.warnings)

    # tables
    names, sites = column(done.measurement_table, "name"), column(done.measurement_table, "site")
    assert len(names) == len(done.measurements)
    row = next(n for n, key in enumerate(zip(names, sites, strict=True)) if key == ("agatston_score", "LAD"))
    assert column(done.measurement_table, "value")[row] == found["agatston_score", "LAD"]
    assert sorted(done.tables) == ["lesions", "vessels"]
    vessels = done.tables["vessels"]
    assert column(vessels, "site") == ["total", *(site.replace("_", " ") for site in SITES.values())]
    assert column(vessels, "agatston")[0] == pytest.approx(truth.total().agatston)
    assert done.tables["lesions"].GetTable().GetNumberOfRows() == len(truth.lesions)

    # segmentation
    np.testing.assert_array_equal(voxels(done.segmentation, image), labels)
    for meaning in SEGMENTS:
        segment = done.segmentation.GetSegmentation().GetSegment(segment_id(meaning))
        assert segment.GetName() == meaning.name
        assert segment.GetTerminology().split("~")[2] == f"SCT^{meaning.type.value}^{meaning.type.meaning}"
        assert segment.GetColor() == pytest.approx(meaning.color, abs=0.01)
    role = done.segmentation.GetReferenceImageGeometryReferenceRole()
    assert done.segmentation.GetNodeReference(role) is node

    # subject hierarchy
    hierarchy = app.scene.GetSubjectHierarchyNode()
    assert hierarchy.GetItemName(done.folder) == "Coronary calcium"
    assert hierarchy.GetItemParent(done.folder) == hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    inside = {hierarchy.GetItemDataNode(item) for item in children_of(hierarchy, done.folder)}
    assert inside == {done.measurement_table, *done.tables.values(), done.segmentation}

    # the input's name could be a patient's: nothing repeats it
    mine = [n for n in nodes_of(app.scene) if n.GetAttribute("CardioPrecision.Run") == "run-1"]
    assert len(mine) >= 4
    assert not any("DOE" in n.GetName() for n in mine)


def test_a_relabelled_segmentation_changes_the_scores(app, ct):
    """What a reader does in Segment Editor: a lesion moved to another segment, then scored again without a model."""
    image, labels = ct
    node = add_ct(app.scene, image)
    first = scene_logic.run_on_nodes(
        app.scene, node, labels_node=add_labels(app.scene, image, labels, node), parameters=QUIET
    )
    again = scene_logic.run_on_nodes(app.scene, node, labels_node=first.segmentation, parameters=QUIET)
    assert numbers(again) == numbers(first)
    moved = np.where(labels == RCA, LAD, labels).astype(np.uint8)
    moved[labels == 5] = OTHER
    corrected = scene_logic.run_on_nodes(
        app.scene, node, labels_node=add_labels(app.scene, image, moved, node, "corrected"), parameters=QUIET
    )
    before, after = numbers(first), numbers(corrected)
    assert after["agatston_score", "LAD"] == pytest.approx(
        before["agatston_score", "LAD"] + before["agatston_score", "RCA"]
    )
    assert after["agatston_score", "RCA"] == after["agatston_score", "aorta"] == 0.0
    assert after["agatston_score", "total"] == pytest.approx(before["agatston_score", "total"])


def test_label_volume_as_labels(app, ct):
    image, labels = ct
    node = add_ct(app.scene, image)
    with SceneBatch(app.scene, "reader") as batch:
        reader = mrml.image_to_node(batch, image.with_array(labels), "reader", "vtkMRMLLabelMapVolumeNode")
    done = scene_logic.run_on_nodes(app.scene, node, labels_node=reader, parameters=QUIET)
    assert numbers(done)["agatston_score", "total"] == pytest.approx(score(image, labels).total().agatston)


def test_run_can_be_taken_back_and_repeated(app, ct):
    image, labels = ct
    node = add_ct(app.scene, image)
    reader = add_labels(app.scene, image, labels, node)
    before = contents(app.scene)
    first = scene_logic.run_on_nodes(app.scene, node, labels_node=reader, parameters=QUIET)
    second = scene_logic.run_on_nodes(app.scene, node, labels_node=reader, parameters=QUIET)
    assert first.run_id != second.run_id
    assert first.segmentation is not second.segmentation
    assert scene_logic.remove_run(app.scene, second.run_id) >= 4
    np.testing.assert_array_equal(voxels(first.segmentation, image), labels)
    scene_logic.remove_run(app.scene, first.run_id)
    assert contents(app.scene) == before


@pytest.mark.parametrize("fails", ["input", "cancel", "late"])
def test_failure_leaves_the_scene_alone(app, ct, fails, monkeypatch):
    image, labels = ct
    node = add_ct(app.scene, image)
    reader = add_labels(app.scene, image, labels, node)
    before = contents(app.scene)
    if fails == "input":
        adapted = CalciumParameters(kvp_adapted=True)
        with pytest.raises(InputError, match="needs the tube voltage"):
            scene_logic.run_on_nodes(app.scene, node, labels_node=reader, parameters=adapted)
    elif fails == "cancel":
        with pytest.raises(Cancelled):
            scene_logic.run_on_nodes(app.scene, node, labels_node=reader, progress=cancelling)
    else:
        fail_at(monkeypatch, "vtkMRMLSegmentationNode")
        with pytest.raises(OSError, match="disk full"):
            scene_logic.run_on_nodes(app.scene, node, labels_node=reader, parameters=QUIET)
    assert contents(app.scene) == before


def test_bad_inputs_are_refused_in_one_line(app, ct):
    scene = app.scene
    with pytest.raises(InputError, match="No input was chosen"):
        scene_logic.run_on_nodes(scene, None)
    spacing = np.diag([0.7, 0.7, 3.0, 1.0])
    with SceneBatch(scene, "r") as batch:
        single = mrml.image_to_node(batch, Image(np.zeros((64, 64, 1), np.int16), spacing), "single")
        flat = mrml.image_to_node(batch, Image(np.zeros((64, 64, 8), np.int16), spacing), "flat")
        nan = mrml.image_to_node(batch, Image(np.full((64, 64, 8), np.nan, "f4"), spacing), "nan")
        reader = mrml.segmentation_to_node(batch, LabelMap(ct[1][None], ct[0].affine, SEGMENTS), 0, "reader")
    for node, message in ((single, "too few slices"), (flat, "only 0"), (nan, "no voxel holds a number")):
        with pytest.raises(InputError, match=message) as caught:
            scene_logic.run_on_nodes(scene, node)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="scalar volume"):
        scene_logic.run_on_nodes(scene, reader)
    with pytest.raises(ValueError, match="another scene"):
        scene_logic.run_on_nodes(slicer.vtkMRMLScene(), single)
    node = add_ct(scene, ct[0])
    with pytest.raises(InputError, match="segmentation or a label volume"):
        scene_logic.run_on_nodes(scene, node, labels_node=node)


def test_results_under_a_transform(app, ct):
    """A parent transform moves input and results alike and changes no number of a rotation about the body's axis."""
    image, labels = ct
    node = add_ct(app.scene, image)
    plain = scene_logic.run_on_nodes(
        app.scene, node, labels_node=add_labels(app.scene, image, labels, node), parameters=QUIET
    )
    angle = np.radians(25)
    move = np.eye(4)
    move[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    move[:3, 3] = 12, -5, 30
    transform = app.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(mrml.array_to_matrix(move))
    for moved in (node, plain.segmentation):
        moved.SetAndObserveTransformNodeID(transform.GetID())
    done = scene_logic.run_on_nodes(app.scene, node, labels_node=plain.segmentation, parameters=QUIET)
    assert done.segmentation.GetParentTransformNode() is transform
    same(numbers(done), numbers(plain), 1e-6)
    np.testing.assert_array_equal(voxels(done.segmentation, image), labels)


def test_turned_twins_give_the_same_numbers(app, ct):
    base = None
    for n, (_, copy, labels) in enumerate(copies(*ct)):
        if n % 7:
            continue
        node = add_ct(app.scene, copy)
        done = scene_logic.run_on_nodes(
            app.scene, node, labels_node=add_labels(app.scene, copy, labels, node), parameters=QUIET
        )
        base = base or numbers(done)
        same(numbers(done), base, 1e-6)
        np.testing.assert_array_equal(voxels(done.segmentation, copy), labels)


def test_saved_and_opened_again(app, ct, tmp_path):
    image, labels = ct
    node = add_ct(app.scene, image)
    reader = add_labels(app.scene, image, labels, node)
    done = scene_logic.run_on_nodes(app.scene, node, labels_node=reader, run_id="kept", parameters=QUIET)
    app.save(str(tmp_path / "scene.mrb"))
    (tmp_path / "other").mkdir()
    again = mrml.MrmlApplication(str(tmp_path / "other"))
    again.open(str(tmp_path / "scene.mrb"))
    scene = again.scene

    kept = [n for n in nodes_of(scene) if n.GetAttribute("CardioPrecision.Run") == "kept"]
    segmentation = next(n for n in kept if n.IsA("vtkMRMLSegmentationNode"))
    volume = scene.GetFirstNodeByName(node.GetName())
    assert mrml.image_from_node(volume).voxel_hash() == image.voxel_hash()
    np.testing.assert_array_equal(voxels(segmentation, image), labels)
    role = segmentation.GetReferenceImageGeometryReferenceRole()
    assert segmentation.GetNodeReference(role) is volume
    for meaning in SEGMENTS:
        segment = segmentation.GetSegmentation().GetSegment(segment_id(meaning))
        assert segment.GetTerminology().split("~")[2] == f"SCT^{meaning.type.value}^{meaning.type.meaning}"
    table = next(n for n in kept if n.GetName() == done.measurement_table.GetName())
    names, sites = column(table, "name"), column(table, "site")
    row = next(n for n, key in enumerate(zip(names, sites, strict=True)) if key == ("agatston_score", "total"))
    assert column(table, "value")[row] == pytest.approx(
        numbers(done)["agatston_score", "total"],
        rel=1e-5,  # six digits in the table's file
    )
    hierarchy = scene.GetSubjectHierarchyNode()
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(segmentation))
    assert hierarchy.GetItemName(folder) == "Coronary calcium"
    # The opened scene goes on: scored again from what was saved, then the run is taken out.
    fresh = scene_logic.run_on_nodes(scene, volume, labels_node=segmentation, parameters=QUIET)
    assert numbers(fresh)["agatston_score", "total"] == pytest.approx(numbers(done)["agatston_score", "total"])
    count = scene.GetNumberOfNodes()
    assert scene_logic.remove_run(scene, "kept") >= 4
    assert scene.GetNumberOfNodes() <= count - 4


# -- output folders ----------------------------------------------------------------------------------------------------
def test_output_folder_into_the_scene(app, ct, tmp_path):
    """A run of the command line, loaded beside its image."""
    image, labels = ct
    write_nifti(tmp_path / "ct.nii.gz", image.array, image.affine)
    made = score_files(
        tmp_path / "ct.nii.gz", write_labels(tmp_path / "l.nii.gz", labels, image.affine), tmp_path / "run"
    )
    node = add_ct(app.scene, image)
    loaded = scene_logic.load_results(app.scene, tmp_path / "run", node)
    assert numbers(loaded) == numbers(made)
    assert loaded.warnings == made.result.warnings
    np.testing.assert_array_equal(voxels(loaded.segmentation, image), labels)
    assert column(loaded.tables["vessels"], "agatston")[0] == pytest.approx(score(image, labels).total().agatston)


def test_wrong_output_folders_are_refused(app, ct, tmp_path):
    image, labels = ct
    node = add_ct(app.scene, image)
    before = contents(app.scene)
    with pytest.raises(InputError, match="missing or cannot be read"):
        scene_logic.load_results(app.scene, tmp_path / "nothing", node)

    def written(name, analysis="calcium", own=labels, affine=image.affine):
        folder = tmp_path / name
        folder.mkdir()
        rows = Measurements([Measurement("agatston_score", 61.5, "1", site="total")])
        (folder / "measurements.json").write_text(json.dumps(document(analysis, Patient(), rows, [])))
        write_nifti(folder / "segmentation.nii.gz", own, affine)
        return folder

    with pytest.raises(InputError, match="not of calcium"):
        scene_logic.load_results(app.scene, written("a", analysis="lv-function"), node)
    shifted = image.affine.copy()
    shifted[0, 3] += 3
    for name, more in (("b", {"affine": shifted}), ("c", {"own": labels[:-1]})):
        with pytest.raises(InputError, match="does not lie on the grid"):
            scene_logic.load_results(app.scene, written(name, **more), node)
    assert contents(app.scene) == before


def test_result_without_labels(app, ct):
    """Nothing was assessable: the table still comes, with its reasons."""
    node = add_ct(app.scene, ct[0])
    rows = Measurements([Measurement.missing("agatston_score", "1", "No whole heart was found.", site="total")])
    done = scene_logic.add_results(app.scene, node, Result(rows))
    assert (done.segmentation, done.tables) == (None, {})
    assert column(done.measurement_table, "reason") == ["No whole heart was found."]


def test_child_process_gives_the_same_numbers(app, ct):
    image, labels = ct
    node = add_ct(app.scene, image)
    reader = add_labels(app.scene, image, labels, node)
    clinical = WHO | {"race": "hispanic"}
    here = scene_logic.run_on_nodes(
        app.scene,
        node,
        labels_node=reader,
        patient=Patient(**WHO),
        parameters=CalciumParameters(figures=False, race="hispanic"),
    )
    said = []
    there = scene_logic.run_in_child(
        app.scene,
        node,
        labels_node=reader,
        clinical=clinical,
        parameters={"figures": False},
        progress=lambda fraction, stage: said.append((fraction, stage)),
    )
    assert said
    same(numbers(there), numbers(here), 1e-9)
    assert there.warnings == here.warnings
    np.testing.assert_array_equal(voxels(there.segmentation, image), labels)
    assert sorted(there.tables) == sorted(here.tables)
    before = contents(app.scene)
    with pytest.raises(InputError, match="needs the tube voltage"):
        scene_logic.run_in_child(app.scene, node, labels_node=reader, parameters={"kvp_adapted": True})
    with pytest.raises(Cancelled):
        scene_logic.run_in_child(app.scene, node, labels_node=reader, should_stop=lambda: True)
    assert contents(app.scene) == before


def test_child_process_on_a_volume_stored_another_way(app, ct):
    """Slices along the first axis, one axis mirrored: the results lie where the calcium lies."""
    _, copy, labels = next(c for c in copies(*ct) if c[0] == "+2-0+1")
    node = add_ct(app.scene, copy)
    done = scene_logic.run_in_child(
        app.scene, node, labels_node=add_labels(app.scene, copy, labels, node), parameters={"figures": False}
    )
    assert numbers(done)["agatston_score", "total"] == pytest.approx(score(*ct).total().agatston)
    np.testing.assert_array_equal(voxels(done.segmentation, copy), labels)


def test_an_empty_segmentation_says_that_there_is_none(app, ct):
    image, _ = ct[:2]
    node = add_ct(app.scene, image)
    empty = add_labels(app.scene, image, np.zeros(image.shape, np.uint8), node)
    found = scene_logic.run_on_nodes(app.scene, node, labels_node=empty)
    assert found.measurements.value("agatston_score", "total") == 0
    assert any("empty" in text for text in found.warnings)
