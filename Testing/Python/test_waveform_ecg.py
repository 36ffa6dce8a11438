"""Numbers and quality of ECGs whose truth is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from FusionRiskLib.waveform.analyse import analyse
from FusionRiskLib.waveform.beats import agreement, intervals_of
from FusionRiskLib.waveform.ecg import FEATURES, analyse_ecg
from FusionRiskLib.waveform.median_beat import median_beat
from FusionRiskLib.waveform.quality import Flag, look_at_samples
from FusionRiskLib.waveform.recording import KINDS, make_recording
from FusionRiskLib.waveform.signal import filled, resampled, resampled_mask, runs
from FusionRiskLib.waveform.synthetic import ALL_LEADS, Beat, make_ecg
from hypothesis import given, settings
from hypothesis import strategies as st
from waveform_cases import as_recording

pytest.importorskip("wfdb")
WIDE = Beat(qrs_ms=130, qt_ms=430, t_mv=-0.3)


def _truth(made):
    """Of the beats themselves, with the definitions of `FEATURES`."""
    rr = 1000 * np.diff(made.r_seconds)
    steps = np.diff(rr)
    return {
        "heart_rate": 60000 / rr.mean(), "rr_mean_ms": rr.mean(), "sdnn_ms": rr.std(ddof=1),
        "rmssd_ms": np.sqrt((steps**2).mean()), "pnn50_percent": 100 * (np.abs(steps) > 50).mean(),
    }  # fmt: skip


# -- numbers -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rate", [100, 128, 250, 360, 500, 1000])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_rhythm_and_durations_at_any_rate(rate, noise):
    for beat in (Beat(), WIDE):
        made = make_ecg(30, rate, ["II", "V1", "V5"], heart_rate=75, beat=beat, noise_mv=noise, seed=3)
        found = analyse_ecg(as_recording(made))
        assert found.quality.flag is Flag.GOOD, found.quality.reasons
        truth, got = _truth(made), found.features
        assert got["heart_rate"] == pytest.approx(truth["heart_rate"], abs=0.05)
        assert got["rr_mean_ms"] == pytest.approx(truth["rr_mean_ms"], abs=0.5)
        assert got["sdnn_ms"] == pytest.approx(truth["sdnn_ms"], abs=1.0)
        assert got["rmssd_ms"] == pytest.approx(truth["rmssd_ms"], abs=2.0)
        assert got["pnn50_percent"] == pytest.approx(truth["pnn50_percent"], abs=6.0)
        assert got["early_beats_percent"] == 0
        assert got["qrs_duration_ms"] == pytest.approx(beat.qrs_ms, abs=8)
        assert got["qt_tangent_ms"] == pytest.approx(beat.qt_ms, abs=10)
        for lead in made.leads:
            r, s = made.amplitudes(lead)
            assert got[f"r_mv_{lead.lower()}"] == pytest.approx(r, abs=0.05)
            assert got[f"s_mv_{lead.lower()}"] == pytest.approx(s, abs=0.05)
        assert got["t_mv_ii"] == pytest.approx(beat.t_mv, abs=0.03)


@pytest.mark.parametrize("heart_rate", [45, 60, 90, 120, 150])
def test_slow_and_fast_hearts(heart_rate):
    qt = 390 if heart_rate < 80 else 390 * (75 / heart_rate) ** 0.5
    made = make_ecg(30, 500, ["II"], heart_rate, sdnn_ms=10, beat=Beat(qt_ms=qt, t_ms=80), noise_mv=0.01, seed=2)
    got = analyse_ecg(as_recording(made)).features
    assert got["heart_rate"] == pytest.approx(_truth(made)["heart_rate"], abs=0.1)
    # with P of the next beat on T there may be no QT, but no wrong one
    assert got.get("qt_tangent_ms", qt) == pytest.approx(qt, abs=12)


def test_early_beats_are_counted_and_kept_out_of_variability():
    made = make_ecg(120, 250, ["II"], sdnn_ms=15, early_share=0.08, noise_mv=0.01, seed=5)
    assert made.early.sum() >= 4
    got = analyse_ecg(as_recording(made)).features
    share = 100 * made.early.sum() / (len(made.r_seconds) - 1)
    assert got["early_beats_percent"] == pytest.approx(share, abs=0.01)
    rr = 1000 * np.diff(made.r_seconds)
    after = np.r_[False, made.early[1:]] | np.r_[False, False, made.early[1:-1]]
    normal = rr[~after[1:]]
    assert got["sdnn_ms"] == pytest.approx(normal.std(ddof=1), abs=1.0)
    assert got["sdnn_ms"] < 0.5 * rr.std(ddof=1)


def test_upside_down_order_and_unit_do_not_matter():
    made = make_ecg(15, 500, ["II", "V1", "V5"], noise_mv=0.02, seed=4)
    base = analyse_ecg(as_recording(made)).features
    turned = analyse_ecg(as_recording(made, made.samples[:, ::-1], names=made.leads[::-1])).features
    assert turned == pytest.approx(base)
    micro = analyse_ecg(as_recording(made, made.samples * 1000, unit="uV")).features
    assert micro == pytest.approx(base, rel=1e-6)
    flipped = analyse_ecg(as_recording(made, -made.samples)).features
    for name in ("heart_rate", "sdnn_ms", "qrs_duration_ms", "qt_tangent_ms"):
        assert flipped[name] == pytest.approx(base[name], rel=0.02), name
    for lead in ("ii", "v1", "v5"):
        assert flipped[f"r_mv_{lead}"] == pytest.approx(base[f"s_mv_{lead}"], abs=0.02)
        assert flipped[f"t_mv_{lead}"] == pytest.approx(-base[f"t_mv_{lead}"], abs=0.02)


def test_without_a_unit_there_is_no_amplitude():
    made = make_ecg(15, 250, ["II"], noise_mv=0.01)
    got = analyse_ecg(as_recording(made, made.samples * 3.7, unit="adu")).features
    assert not [name for name in got if "_mv_" in name]
    assert got["qrs_duration_ms"] == pytest.approx(90, abs=8)


def test_an_unknown_lead_gives_rhythm_and_no_column_of_its_own():
    made = make_ecg(15, 250, ["II"], noise_mv=0.01)
    got = analyse_ecg(as_recording(made, names=["Jane Doe"])).features
    assert "heart_rate" in got
    assert not [name for name in got if "_mv_" in name]
    assert set(got) <= set(FEATURES)


def test_all_twelve_leads():
    made = make_ecg(10, 500, ALL_LEADS, noise_mv=0.02, seed=6)
    found = analyse_ecg(as_recording(made))
    assert set(found.features) == set(FEATURES)
    for lead in ALL_LEADS:
        assert found.features[f"r_mv_{lead.lower()}"] == pytest.approx(made.amplitudes(lead)[0], abs=0.06), lead


@given(
    rate=st.sampled_from([100, 125, 257, 400, 733, 1000]), heart_rate=st.floats(50, 110), seed=st.integers(0, 1000),
    seconds=st.floats(8, 25), noise=st.floats(0, 0.04), gain=st.floats(0.3, 3), wander=st.floats(0, 0.15),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_heart_rate_is_right_or_absent(rate, heart_rate, seed, seconds, noise, gain, wander):
    made = make_ecg(seconds, rate, ["II"], heart_rate, noise_mv=noise, wander_mv=wander, seed=seed)
    got = analyse_ecg(as_recording(made, made.samples * gain)).features
    if "heart_rate" in got:
        # a detector may miss the first and the last beat
        beats = made.r_seconds
        could_be = [60 / np.diff(cut).mean() for cut in (beats, beats[1:], beats[:-1], beats[1:-1])]
        assert min(abs(got["heart_rate"] / rate - 1) for rate in could_be) < 0.004


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1, 0.2])
def test_noise_hides_the_edges_and_then_there_is_no_duration(noise):
    for seed in range(8):
        made = make_ecg(10, (100, 500)[seed % 2], ["II"], 55 + 5 * seed, noise_mv=noise, seed=seed)
        got = analyse_ecg(as_recording(made)).features
        assert got.get("qrs_duration_ms", 90.0) == pytest.approx(90, abs=18)
        assert got.get("qt_tangent_ms", 390.0) == pytest.approx(390, abs=20)
        assert ("qrs_duration_ms" in got) or noise > 0.02
    assert median_beat(made.samples, made.r_seconds[:3], 0.8) is None


# -- quality -----------------------------------------------------------------------------------------------------------
def _clean(**more):
    return make_ecg(**{"seconds": 20, "rate": 500, "leads": ["II"], "noise_mv": 0.01, "seed": 2, **more})


def _judged(made, samples=None):
    return analyse_ecg(as_recording(made, samples)).quality


def test_a_clean_one_is_good():
    assert _judged(_clean()).flag is Flag.GOOD
    assert _judged(_clean()).reasons == []


@pytest.mark.parametrize(("start", "end", "flag"), [(3, 5, Flag.DOUBTFUL), (3, 16, Flag.UNUSABLE)])
@pytest.mark.parametrize("value", [np.nan, 0.4])
def test_missing_and_flat_stretches(start, end, flag, value):
    made = _clean()
    samples = made.samples.copy()
    samples[start * 500 : end * 500] = value
    found = analyse_ecg(as_recording(made, samples))
    assert found.quality.flag is flag
    share = f"{100 * (end - start) / 20:.0f} %"
    wanted = f"{share} of the samples are missing" if np.isnan(value) else f"flat for {share} of the time"
    assert wanted in found.quality.reasons
    assert (not found.features) == (flag is Flag.UNUSABLE)


def test_no_interval_runs_over_a_gap():
    made = _clean(sdnn_ms=5)
    samples = made.samples.copy()
    samples[2000:2900] = np.nan
    got = analyse_ecg(as_recording(made, samples)).features
    truth = _truth(made)
    assert got["rr_mean_ms"] == pytest.approx(truth["rr_mean_ms"], abs=3)
    assert got["sdnn_ms"] < 8


def test_clipping_is_told_and_its_lead_has_no_amplitude():
    made = _clean(leads=["II", "V5"])
    samples = made.samples.copy()
    samples[:, 0] = np.clip(samples[:, 0], None, 0.6)
    found = analyse_ecg(as_recording(made, samples))
    assert found.quality.flag is Flag.DOUBTFUL
    assert any(reason.startswith("II: clipped") for reason in found.quality.reasons)
    assert "r_mv_ii" not in found.features
    assert found.features["r_mv_v5"] == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize(("fault", "said"), [
    ({"mains_mv": 0.15}, "mains hum at 50 Hz"), ({"wander_mv": 0.6}, "baseline wander"),
    ({"noise_mv": 0.25}, "noise above 40 Hz"),
])  # fmt: skip
def test_noise_of_each_kind(fault, said):
    quality = _judged(_clean(**fault))
    assert quality.flag is not Flag.GOOD
    assert any(said in reason for reason in quality.reasons), quality.reasons
    half = {name: 0.2 * value for name, value in fault.items()}
    assert _judged(_clean(**half)).flag is Flag.GOOD


@pytest.mark.parametrize("rate", [100, 250, 500, 1000])
def test_noise_alone_gives_no_number(rate):
    for seed in range(4):
        noise = np.random.default_rng(seed).normal(0, 0.3, (10 * rate, 1))
        for samples in (noise, noise.cumsum(axis=0), np.rint(5 * noise)):
            found = analyse_ecg(as_recording(make_ecg(10, rate), samples))
            assert found.quality.flag is Flag.UNUSABLE, found.quality.reasons
            assert found.features == {}
            assert found.quality.reasons


@given(
    rate=st.sampled_from([60, 100, 128, 250.7, 500, 2000]), seconds=st.floats(0.02, 9), seed=st.integers(0, 9999),
    kind=st.sampled_from(["noise", "impulses", "steps", "square", "huge", "burst"]), gaps=st.integers(0, 4),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_signal_gets_a_verdict_and_finite_numbers(rate, seconds, seed, kind, gaps):
    rng = np.random.default_rng(seed)
    n = max(int(seconds * rate), 1)
    x = rng.normal(0, 1, (n, 2))
    if kind == "impulses":
        x *= rng.random((n, 2)) < 0.01
    elif kind == "steps":
        x = np.repeat(x, 40, axis=0)[:n]
    elif kind == "square":
        x = np.sign(np.sin(np.arange(n) / rate * rng.uniform(3, 20)))[:, None] * np.ones(2)
    elif kind == "huge":
        x *= 1e12
    elif kind == "burst":
        x[n // 3 :] = 0
    for _ in range(gaps):
        at = rng.integers(0, n)
        x[at : at + rng.integers(1, n + 1), rng.integers(2)] = np.nan
    recording = make_recording(x, rate, ["II", "other"], ["mV", None], "here")
    for kind_of in KINDS:
        found = analyse(recording, kind_of)
        assert all(np.isfinite(value) for value in found.features.values())
        if found.quality.flag is Flag.UNUSABLE:
            assert found.features == {}
            assert found.quality.reasons


def test_one_bad_lead_of_two_does_not_spoil_the_other():
    made = _clean(leads=["II", "V1"])
    samples = made.samples.copy()
    samples[:, 0] = np.random.default_rng(1).normal(0, 1, len(samples))
    found = analyse_ecg(as_recording(made, samples))
    assert found.quality.flag is Flag.DOUBTFUL
    assert [q.flag for q in found.channels] == [Flag.UNUSABLE, Flag.GOOD]
    assert found.best == 1
    assert found.features["heart_rate"] == pytest.approx(_truth(made)["heart_rate"], abs=0.1)
    assert "r_mv_ii" not in found.features


@pytest.mark.parametrize(("seconds", "rate", "said"), [(3, 500, "shorter than 5 s"), (20, 60, "less than 100 Hz")])
def test_too_short_and_too_slow(seconds, rate, said):
    found = analyse_ecg(as_recording(make_ecg(seconds, rate)))
    assert found.quality.flag is Flag.UNUSABLE
    assert said in found.quality.reasons[0]


def test_all_flat_and_all_missing():
    made = _clean()
    for value, said in ((0.0, "flat for 100 %"), (np.nan, "100 % of the samples are missing")):
        quality = _judged(made, np.full_like(made.samples, value))
        assert quality.flag is Flag.UNUSABLE
        assert any(said in reason for reason in quality.reasons)


# -- parts -------------------------------------------------------------------------------------------------------------
def test_agreement_by_hand():
    one = np.array([1.0, 2.0, 3.0, 4.0])
    assert agreement(one, one + 0.1, 10) == 1
    assert agreement(one, one + 0.2, 10) == 0
    assert agreement(one, one[:2], 10) == pytest.approx(2 / 4)
    assert agreement(one[:2], one, 10) == pytest.approx(2 / 4)
    assert agreement(one, np.zeros(0), 10) == 0


def test_intervals_by_hand():
    times = np.array([0.0, 1.0, 2.0, 2.6, 4.0, 5.0, 6.0, 10.0, 11.0])
    missing = np.zeros(1200, dtype=bool)
    missing[550:560] = True
    found = intervals_of(times, missing, 100)
    # 5 to 6 runs over missing samples, 6 to 10 is no heart's
    np.testing.assert_allclose(found.rr, [1, 1, 0.6, 1.4, 1, 1])
    np.testing.assert_array_equal(found.early, [False, False, True, False, False, False])
    np.testing.assert_array_equal(found.normal, [True, True, False, False, True, True])
    np.testing.assert_array_equal(found.consecutive, [True, False, False, False, False])


def test_samples_by_hand():
    x = np.sin(np.arange(4000) / 7.0)
    x[:400] = np.nan
    x[1000:2000] = 0.123
    found = look_at_samples(x, 500)
    assert found.missing == pytest.approx(0.1)
    assert found.flat == pytest.approx(0.25, abs=0.001)
    assert found.clipped == 0


def test_gaps_and_rates():
    x, missing = filled(np.array([0.0, np.nan, 2.0, np.nan]))
    np.testing.assert_array_equal(x, [0, 1, 2, 2])
    np.testing.assert_array_equal(missing, [False, True, False, True])
    t = np.arange(1000) / 500
    np.testing.assert_allclose(resampled(np.sin(9 * t), 500, 250)[20:-20], np.sin(9 * np.arange(500) / 250)[20:-20],
                               atol=2e-3)  # fmt: skip
    mask = np.zeros(1000, dtype=bool)
    mask[501] = True
    for to in (100, 250, 500, 750):
        found = resampled_mask(mask, 500, to, 2 * to)
        assert found[round(501 / 500 * to)]
        assert found.sum() <= 6
    start, end = runs(np.array([True, False, True, True]))
    assert (start.tolist(), end.tolist()) == ([0, 2], [1, 4])
