"""Splits by patient and the leakage checks: each kind of leak is planted and must stop the run."""

from dataclasses import replace

import numpy as np
import pytest
from CardioPrecisionLib.errors import InputError
from fusion_cases import binary_cohort, columns, survival_cohort
from FusionRiskLib.fusion.cohort import Column, Outcome, make_cohort
from FusionRiskLib.fusion.folds import Fold, inner_folds, outer_folds
from FusionRiskLib.fusion.leakage import (
    FittedPart,
    LeakageError,
    check_all,
    check_columns,
    check_fitted,
    check_folds,
    check_times,
    fingerprint,
)
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 120), st.integers(2, 6), st.integers(1, 4), st.integers(0, 1000))
def test_folds_share_out_everything(n, folds, sites, seed):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(n), rng.integers(1, 4, n))
    of_patient = rng.integers(0, 3, n)
    site = rng.integers(0, sites, n)
    cohort = make_cohort(
        rng.normal(size=(len(patient), 1)), columns(a=1), Outcome("multiclass", ("a", "b", "c"), of_patient[patient]),
        patient, site=site[patient], sites=tuple("abcd"),
    )  # fmt: skip
    made = outer_folds(cohort, folds, 2, seed)
    assert len(made) == 2 * folds
    for repeat in range(2):
        mine = [fold for fold in made if fold.repeat == repeat]
        np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in mine])), np.arange(len(patient)))
        for fold in mine:
            np.testing.assert_array_equal(np.union1d(fold.train, fold.test), np.arange(len(patient)))
        tested = [np.unique(patient[fold.test]) for fold in mine]
        assert np.ptp([len(t) for t in tested]) <= 1
        for k in range(3):
            assert np.ptp([(of_patient[t] == k).sum() for t in tested]) <= 1
            for s in range(sites):
                assert np.ptp([((of_patient[t] == k) & (site[t] == s)).sum() for t in tested]) <= 1
    check_folds(cohort, made)


def test_seeds():
    cohort = binary_cohort()
    one, same, other = (outer_folds(cohort, seed=seed)[0].test for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    first, second = outer_folds(cohort, 5, 2)[::5]
    assert not np.array_equal(first.test, second.test)


def test_inner_folds_stay_inside():
    cohort = survival_cohort(100)
    outer = outer_folds(cohort)[0]
    inner = list(inner_folds(cohort, outer.train, 4, 0))
    assert all(np.isin(f.train, outer.train).all() for f in inner)
    np.testing.assert_array_equal(np.sort(np.concatenate([f.test for f in inner])), outer.train)
    rates = [cohort.outcome.e[f.test].mean() for f in inner]
    assert np.ptp(rates) < 0.12


def test_by_site():
    site = np.repeat(np.arange(4), [80, 60, 40, 20])
    cohort = binary_cohort(site=site, sites=tuple("abcd"))
    for fold in outer_folds(cohort, 3, by="site"):
        assert not np.intersect1d(site[fold.train], site[fold.test]).size
    with pytest.raises(InputError, match="5 folds of 4 sites"):
        outer_folds(cohort, 5, by="site")
    with pytest.raises(InputError, match="need a site column"):
        outer_folds(binary_cohort(), 2, by="site")
    twice = replace(cohort, patient=np.r_[0, np.arange(198), 0])
    with pytest.raises(InputError, match="seen at two sites"):
        outer_folds(twice, 2, by="site")
    with pytest.raises(InputError, match="201 folds of 200 patients"):
        outer_folds(cohort, 201)


def test_a_clean_cohort_passes():
    for cohort in (binary_cohort(), survival_cohort()):
        assert check_all(cohort, outer_folds(cohort, repeats=2)) == []


def test_patient_in_two_folds():
    cohort = replace(binary_cohort(), patient=np.repeat(np.arange(100), 2))
    rows = np.arange(200)
    with pytest.raises(LeakageError, match="1 patients are in training and test of fold 3"):
        check_folds(cohort, [Fold(rows[:101], rows[101:], 0, 2)])
    with pytest.raises(LeakageError, match="tested in two folds"):
        check_folds(cohort, [Fold(rows[:100], rows[100:]), Fold(rows[:80], rows[120:], 0, 1)])


def with_column(cohort, values, name="extra", kind="number", choices=()):
    column = Column(name, "extra", kind, choices)
    return replace(cohort, columns=(*cohort.columns, column), values=np.column_stack([cohort.values, values]))


RNG = np.random.default_rng(3)
Y = binary_cohort().outcome.y


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (Y * 1.0, "alone tells 'yes' from the rest"),
        (-3.0 * Y + RNG.normal(0, 0.3, 200), "alone tells 'yes'"),
        (np.where(Y == 1, RNG.normal(size=200), np.nan), "is known exactly where 'yes' is or is not"),
    ],
)
def test_column_made_from_a_class(values, message):
    cohort = with_column(binary_cohort(), values)
    with pytest.raises(LeakageError, match=message) as raised:
        check_columns(cohort)
    assert "'extra'" in str(raised.value)
    check_columns(replace(cohort, accept={"extra": "a strong predictor, looked into"}))


def test_word_made_from_a_class():
    words = np.where(Y == 1, RNG.integers(0, 2, 200), RNG.integers(2, 5, 200)).astype(float)
    with pytest.raises(LeakageError, match="alone tells"):
        check_columns(with_column(binary_cohort(), words, kind="choice", choices=tuple("abcde")))
    check_columns(with_column(binary_cohort(), RNG.integers(0, 5, 200) * 1.0, kind="choice", choices=tuple("abcde")))
    # a word of its own for everybody tells nothing of others
    check_columns(with_column(binary_cohort(20), np.arange(20.0), kind="choice", choices=tuple("abcdefghijklmnopqrst")))


def test_column_made_from_one_of_many_classes():
    labels = RNG.integers(0, 3, 200)
    cohort = replace(binary_cohort(), outcome=Outcome("multiclass", ("a", "b", "c"), labels, names=("group",)))
    with pytest.raises(LeakageError, match="alone tells 'b'"):
        check_columns(with_column(cohort, (labels == 1) * 2.0 + RNG.normal(0, 0.2, 200)))


def test_column_made_from_survival():
    cohort = survival_cohort()
    outcome = cohort.outcome
    with pytest.raises(LeakageError, match="alone tells the event"):
        check_columns(with_column(cohort, outcome.e * 1.0))
    with pytest.raises(LeakageError, match="follows the follow-up"):
        check_columns(with_column(cohort, -outcome.t * 365 + RNG.normal(0, 0.01, 300)))
    with pytest.raises(LeakageError, match="follows the time of the events"):
        check_columns(with_column(cohort, np.where(outcome.e, outcome.t, RNG.exponential(1, 300))))


@pytest.mark.parametrize("name", ["days_to_death", "Outcome", "follow_up_months", "timeToEvent_time_to_event", "died"])
def test_column_named_after_the_outcome(name):
    with pytest.raises(LeakageError, match="named"):
        check_columns(with_column(binary_cohort(), RNG.normal(3, 2, 200), name))


def test_named_after_a_particular_outcome():
    cohort = binary_cohort()
    cohort = replace(cohort, outcome=replace(cohort.outcome, names=("mace",)))
    with pytest.raises(LeakageError, match="named after the outcome 'mace'"):
        check_columns(with_column(cohort, RNG.normal(3, 2, 200), "mace_date"))
    check_columns(with_column(cohort, RNG.normal(3, 2, 200), "grimace_score"))
    common = replace(cohort, outcome=replace(cohort.outcome, names=("group",)))
    check_columns(with_column(common, RNG.normal(3, 2, 200), "age_group_code"))


def test_preprocessing_of_the_whole_table():
    cohort = binary_cohort()
    raw = RNG.normal(50, 10, 200).round(1)
    check_columns(with_column(cohort, raw))
    with pytest.raises(LeakageError, match="was standardised over all patients"):
        check_columns(with_column(cohort, (raw - raw.mean()) / raw.std()))
    gaps = RNG.random(200) < 0.2
    with pytest.raises(LeakageError, match="times the mean of its other values"):
        check_columns(with_column(cohort, np.where(gaps, raw[~gaps].mean(), raw)))
    whole = np.array([1.0] * 70 + [2.0] * 60 + [3.0] * 70)  # the mean of the others is a value like any other
    check_columns(with_column(cohort, RNG.permutation(whole)))


def test_part_fitted_outside_its_fold():
    cohort = binary_cohort()
    fold = outer_folds(cohort)[0]
    inside = FittedPart("imputation", cohort.columns, fingerprint(cohort.values[fold.train]))
    check_fitted([inside], cohort, fold.train)
    for rows in (np.arange(200), fold.test, fold.train[:-1]):
        outside = FittedPart("imputation", cohort.columns, fingerprint(cohort.values[rows]))
        with pytest.raises(LeakageError, match="imputation was not fitted on the 160 training rows"):
            check_fitted([inside, outside], cohort, fold.train)


def test_examined_after_the_outcome():
    cohort = survival_cohort()
    zero = np.zeros(300)
    at = {"baseline": zero, "measured:imaging": zero}
    assert check_times(replace(cohort, times=at)) == []
    later = at | {"measured:imaging": cohort.outcome.t * np.where(np.arange(300) < 5, 1.5, 0)}
    with pytest.raises(LeakageError, match="imaging was examined at or after the outcome in 5 rows"):
        check_times(replace(cohort, times=later))
    soon = at | {"measured:imaging": cohort.outcome.t * 0.5}
    assert "300 rows: these patients had to live" in check_times(replace(cohort, times=soon))[0]
    days = {"baseline": zero + 7e5, "measured:imaging": zero + 7e5 + 365.25 * cohort.outcome.t * 0.9}
    assert len(check_times(replace(cohort, times=days, times_in_days=True))) == 1
    classes = replace(binary_cohort(), times={"outcome": np.full(200, 5.0), "measured:imaging": np.arange(200.0)})
    with pytest.raises(LeakageError, match="in 195 rows"):
        check_times(classes)


def test_words_that_tell_nothing_are_no_leak():
    """Two words whose shares of events are nearly alike: a share without the row itself would tell events apart."""
    cohort = binary_cohort(200, 1)
    word = np.zeros(200)
    for k in (0, 1):
        word[np.flatnonzero(cohort.outcome.y == k)[::2]] = 1
    check_columns(with_column(cohort, word, kind="choice", choices=("female", "male")))
