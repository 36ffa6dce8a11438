"""The classifier from text to CAD-RADS: it learns, it refuses, its file is safe and whole."""

from __future__ import annotations

import zipfile

import cad_rads_texts
import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from FusionRiskLib.text.classifier import CATEGORIES, CadRadsTextClassifier
from FusionRiskLib.text.features import matrix, words_of


@pytest.fixture(scope="module")
def model():
    texts, categories = cad_rads_texts.reports(400, 1, False)
    return CadRadsTextClassifier(bits=13).fit(texts, categories)


def test_it_learns_a_way_of_writing(model):
    texts, categories = cad_rads_texts.reports(150, 3, False)
    forced = [model.classes[i] for i in model.predict_proba(texts).argmax(axis=1)]
    right = np.mean([a == b for a, b in zip(forced, categories, strict=True)])
    common = max(np.mean([c == category for c in categories]) for category in set(categories))
    assert right > 0.85 > common + 0.4


def test_answers_are_better_than_guesses_and_the_rest_is_refused(model):
    texts, categories = cad_rads_texts.reports(150, 5, False)
    said = model.predict(texts)
    answered = [(p.category, c) for p, c in zip(said, categories, strict=True) if p.category]
    assert len(answered) > 80
    assert np.mean([a == b for a, b in answered]) > 0.93
    assert all(p.reason for p in said if p.category is None)
    assert all(p.reason is None and p.probability >= model.minimum_probability for p in said if p.category)


@pytest.mark.parametrize("text", ["", "   ", "!!!", "Die Nieren sind unauffällig, kein Harnstau.", "xqz wvk jjq"])
def test_without_anything_known_it_refuses(model, text):
    (said,) = model.predict([text])
    assert said.category is None
    assert "nothing to go by" in said.reason


def test_probabilities_sum_to_one(model):
    shares = model.predict_proba(["LAD: severe stenosis.", ""])
    assert shares.shape == (2, len(model.classes))
    assert np.allclose(shares.sum(axis=1), 1)
    assert set(model.classes) <= set(CATEGORIES)


def test_a_stated_category_is_not_read():
    bare = words_of("LAD: mild stenosis.")
    assert (
        words_of("LAD: mild stenosis. CAD-RADS 4A/P3") == [*bare, "|"]
        or words_of("LAD: mild stenosis. CAD-RADS 4A/P3") == bare
    )
    assert "4" not in "".join(words_of("Overall CAD-RADS 2.0 category: 4B."))


def test_percentages_become_ranges():
    assert words_of("62 % and 58,5 percent, 50-69%") == ["%50-69", "and", "%50-69", "%50-69"]
    assert words_of("0 % 100 %") == ["%0", "%100"]


def test_training_is_reproducible():
    texts, categories = cad_rads_texts.reports(40, 1, False)
    first, second = (CadRadsTextClassifier(bits=10).fit(texts, categories).predict_proba(texts) for _ in range(2))
    assert np.array_equal(first, second)


def test_saved_and_loaded_it_says_the_same(model, tmp_path):
    path = tmp_path / "weights.npz"
    model.save(path)
    texts, _ = cad_rads_texts.reports(20, 9, True)
    loaded = CadRadsTextClassifier.load(path)
    assert loaded.predict(texts) == model.predict(texts)
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            assert np.lib.format.read_magic(file.open(name)) >= (1, 0)
    with np.load(path, allow_pickle=False) as data:
        assert all(data[name].dtype != object for name in data.files)


@pytest.mark.parametrize("content", [b"", b"no file of numpy", b"PK\x03\x04 half", b"\x80\x04\x95pickle"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"weights\.npz"):
        CadRadsTextClassifier.load(path)


def test_a_cut_file_and_another_one_are_refused(model, tmp_path):
    path = tmp_path / "weights.npz"
    model.save(path)
    whole = path.read_bytes()
    for size in (len(whole) // 3, len(whole) - 10):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError):
            CadRadsTextClassifier.load(path)
    np.savez(path, settings=np.frombuffer(b'{"schema": "x", "classes": ["0"]}', np.uint8), used=1, weights=1, offset=1)
    with pytest.raises(InputError, match="no saved"):
        CadRadsTextClassifier.load(path)
    np.savez(path, settings=np.array({"a": 1}, dtype=object))
    with pytest.raises(InputError, match="no saved"):
        CadRadsTextClassifier.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        CadRadsTextClassifier.load(tmp_path / "absent.npz")


@pytest.mark.parametrize(
    ("texts", "categories", "message"),
    [
        (["a", "b"], ["0"], "2 reports but 1"),
        (["a", "b"], ["0", "6"], "not one of"),
        (["a", " "], ["0", "1"], "report 1 is empty"),
        (["a", "b"], ["1", "1"], "fewer than two"),
        ([], [], "fewer than two"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(texts, categories, message):
    with pytest.raises(InputError, match=message):
        CadRadsTextClassifier().fit(texts, categories)


def test_before_learning_it_says_so(tmp_path):
    for ask in (lambda m: m.predict(["a"]), lambda m: m.predict_proba(["a"]), lambda m: m.save(tmp_path / "x")):
        with pytest.raises(InputError, match="fit or load"):
            ask(CadRadsTextClassifier())
    with pytest.raises(InputError, match="bits"):
        CadRadsTextClassifier(bits=40)


def test_rows_have_length_one_and_the_empty_text_none():
    rows = matrix(["LAD mild", ""], 10, 2, (3,))
    assert rows.shape == (2, 1024)
    assert np.allclose(np.sqrt(rows.multiply(rows).sum(axis=1)).ravel(), [1, 0])
