"""Numbers and quality of heart sounds whose truth is known exactly."""

from __future__ import annotations

import numpy as np
import pytest
from FusionRiskLib.waveform.pcg import FEATURES, analyse_pcg
from FusionRiskLib.waveform.quality import Flag
from FusionRiskLib.waveform.synthetic import make_pcg
from hypothesis import given, settings
from hypothesis import strategies as st
from waveform_cases import as_recording


@pytest.mark.parametrize("rate", [500, 1000, 2000, 4000])
@pytest.mark.parametrize(("heart_rate", "systole"), [(55, 330), (70, 310), (88, 280)])
def test_rate_and_intervals(rate, heart_rate, systole):
    for noise in (0.0, 0.1):
        made = make_pcg(15, rate, heart_rate, systole_ms=systole, noise=noise, seed=3)
        found = analyse_pcg(as_recording(made))
        assert found.quality.flag is Flag.GOOD, found.quality.reasons
        got, truth = found.features, made.truth
        assert got["heart_rate"] == pytest.approx(truth["heart_rate"], abs=0.2)
        assert got["systole_ms"] == pytest.approx(systole, abs=3)
        assert got["diastole_ms"] == pytest.approx(truth["diastole_ms"], abs=6)
        assert got["s1_s2_db"] == pytest.approx(truth["s1_s2_db"], abs=1.2)
        assert set(got) <= set(FEATURES)
        assert ("systolic_150_400_hz_db" in got) == (rate > 851)


@pytest.mark.parametrize("level", [-20, -10, -5])
@pytest.mark.parametrize("rate", [1000, 2000])
def test_the_level_of_a_murmur(level, rate):
    for seed in range(3):
        made = make_pcg(15, rate, 70, murmur_db=level, noise=0.01, seed=seed)
        got = analyse_pcg(as_recording(made)).features
        assert got["systolic_150_400_hz_db"] == pytest.approx(level, abs=1.5)
        assert got["diastolic_150_400_hz_db"] < -28
        assert got["systolic_60_150_hz_db"] < level - 8


def test_level_and_polarity_do_not_matter():
    made = make_pcg(12, 2000, 72, murmur_db=-10, noise=0.02, seed=1)
    base = analyse_pcg(as_recording(made)).features
    assert analyse_pcg(as_recording(made, -500 * made.samples + 3)).features == pytest.approx(base, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("heart_rate", "systole"), [(110, 250), (115, 265)])
def test_where_systole_is_not_shorter_nothing_is_told_but_the_rate(heart_rate, systole):
    found = analyse_pcg(as_recording(make_pcg(15, 2000, heart_rate, systole_ms=systole, noise=0.02, seed=3)))
    assert found.features == {"heart_rate": pytest.approx(heart_rate, abs=0.5)}
    assert "first and second sound cannot be told apart" in found.quality.reasons


@given(
    rate=st.sampled_from([600, 1000, 2000, 4410]), heart_rate=st.floats(50, 95), seed=st.integers(0, 999),
    seconds=st.floats(8, 20), noise=st.floats(0, 0.1), gain=st.floats(0.4, 1.0),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_the_heart_rate_is_right_or_absent(rate, heart_rate, seed, seconds, noise, gain):
    made = make_pcg(seconds, rate, heart_rate, systole_ms=300, s2_gain=gain, noise=noise, seed=seed)
    got = analyse_pcg(as_recording(made)).features
    if "heart_rate" in got:
        assert got["heart_rate"] == pytest.approx(made.truth["heart_rate"], rel=0.03)
    if "systole_ms" in got:
        assert got["systole_ms"] == pytest.approx(300, abs=8)


# -- quality -----------------------------------------------------------------------------------------------------------
def test_noise_alone_gives_no_number():
    for seed in range(5):
        samples = np.random.default_rng(seed).normal(0, 1, (24000, 1))
        found = analyse_pcg(as_recording(make_pcg(12), samples))
        assert found.quality.flag is Flag.UNUSABLE
        assert found.features == {}
        assert any("weak rhythm" in reason for reason in found.quality.reasons)


def test_sounds_in_much_noise_are_doubtful_or_unusable():
    assert analyse_pcg(as_recording(make_pcg(12, noise=1.5, seed=1))).quality.flag is not Flag.GOOD


def test_spikes():
    made = make_pcg(15, noise=0.01, seed=2)
    samples = made.samples.copy()
    samples[[3100, 9200, 20500]] += 30
    found = analyse_pcg(as_recording(made, samples))
    assert found.quality.flag is Flag.DOUBTFUL
    assert "spikes in 10 % of half seconds" in found.quality.reasons
    assert found.features["heart_rate"] == pytest.approx(made.truth["heart_rate"], abs=0.5)


def test_clipped_missing_and_flat():
    made = make_pcg(15, noise=0.02, seed=2)
    clipped = analyse_pcg(as_recording(made, np.clip(made.samples, -0.1, 0.1)))
    samples = made.samples.copy()
    samples[4000:8000] = np.nan
    gap = analyse_pcg(as_recording(made, samples))
    assert gap.quality.flag is Flag.DOUBTFUL
    assert gap.features["heart_rate"] == pytest.approx(made.truth["heart_rate"], abs=0.5)
    assert gap.features["systole_ms"] == pytest.approx(310, abs=4)
    samples[:] = 0
    assert analyse_pcg(as_recording(made, samples)).quality.flag is Flag.UNUSABLE
    assert clipped.quality.flag is not Flag.GOOD
    assert any("clipped" in reason for reason in clipped.quality.reasons)


def test_the_better_of_two_channels_is_used():
    made = make_pcg(15, noise=0.05, seed=2)
    noise = np.random.default_rng(0).normal(0, 1, made.samples.shape)
    found = analyse_pcg(as_recording(made, np.hstack([noise, made.samples]), names=["a", "b"]))
    assert found.best == 1
    assert found.quality.flag is Flag.DOUBTFUL
    assert found.features["systole_ms"] == pytest.approx(310, abs=3)


@pytest.mark.parametrize(("seconds", "rate", "said"), [(3, 2000, "shorter than 5 s"), (20, 300, "less than 400 Hz")])
def test_too_short_and_too_slow(seconds, rate, said):
    found = analyse_pcg(as_recording(make_pcg(seconds, rate)))
    assert found.quality.flag is Flag.UNUSABLE
    assert said in found.quality.reasons[0]
