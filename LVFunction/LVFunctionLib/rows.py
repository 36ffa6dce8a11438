"""The measurement rows of LV function: names, units, codes, and how one missing fact spreads to others.

Codes: DICOM PS3.16 CID 3468, 3469, 3833, 3835, 12200, 12202, 12203 and TID 5200.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from CardioPrecisionLib.measurement import Code, Measurement, Measurements

from . import function as fn
from .intervals import Interval
from .phases import Rates

_C = {
    "lv_edv": ("LN", "8821-1", "Left Ventricular ED Volume"),
    "lv_esv": ("LN", "8823-7", "Left Ventricular ES Volume"),
    "lv_sv": ("SCT", "90096001", "Stroke Volume"),
    "lv_ef": ("LN", "8811-2", "Left ventricular ejection fraction by MR"),
    "lv_mass": ("LN", "18087-7", "Left Ventricle Mass"),
    "rv_edv": ("LN", "8822-9", "Right Ventricular ED Volume"),
    "rv_esv": ("LN", "8824-5", "Right Ventricular ES Volume"),
    "rv_ef": ("LN", "8818-7", "Right ventricular ejection fraction by MR"),
    "heart_rate": ("LN", "8867-4", "Heart rate"),
    "cardiac_output": ("SCT", "82799009", "Cardiac Output"),
    "cardiac_index": ("SCT", "54993008", "Cardiac Index"),
    "lv_peak_ejection_rate": ("DCM", "122616", "Peak Ejection Rate"),
    "lv_peak_filling_rate": ("DCM", "122618", "Peak Filling Rate"),
    "lv_time_to_peak_ejection": ("DCM", "122617", "Peak Ejection Time"),
    "lv_time_to_peak_filling": ("DCM", "122619", "Peak Filling Time"),
}
CODES = {name: Code(*parts) for name, parts in _C.items()}

VOLUMES = ("lv_edv", "lv_esv", "lv_sv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "rv_sv", "rv_ef")
UNITS = {"lv_ef": "%", "rv_ef": "%", "lv_mass": "g", "lv_mass_es": "g"}
INDEXED = ("lv_edv", "lv_esv", "lv_sv", "lv_mass", "rv_edv", "rv_esv", "rv_sv")


def unit(name: str) -> str:
    return UNITS.get(name, "mL")


@dataclass(frozen=True)
class Context:
    """What all rows of one run share."""

    method: str
    source: str
    bsa_m2: float | None
    heart_rate_bpm: float | None
    heart_rate_reason: str = "No heart rate or RR interval is in the header, and the frames do not span a full cycle."
    intervals: Mapping[str, Interval] | None = None


def volume_rows(
    values: Mapping[str, float | None], reasons: Mapping[str, tuple[str, str]], context: Context
) -> Measurements:
    """Volumes, ejection fractions, mass and their indices.

    Parameters
    ----------
    values : mapping
        Any of `VOLUMES` and further volumes (``rv_edv_max``…) in mL, %, g; None where it is missing.
    reasons : mapping
        For missing names: (state, reason).
    context : Context
    """
    rows = Measurements()
    common: dict[str, Any] = {"method": context.method, "source": context.source}
    for name, value in values.items():
        if value is None:
            state, reason = reasons[name]
            rows.add(Measurement(name, None, unit(name), state, reason, code=CODES.get(name), **common))  # type: ignore[arg-type]
            continue
        interval = (context.intervals or {}).get(name)
        ends: dict[str, Any] = interval.around(value) if interval else {}
        rows.add(Measurement(name, value, unit(name), code=CODES.get(name), **ends, **common))
    for name in INDEXED:
        row = rows.get(name)
        if row is not None:
            rows.add(_indexed(row, f"{name}_index", context.bsa_m2))
    return rows


def _indexed(row: Measurement, name: str, bsa: float | None) -> Measurement:
    indexed_unit = f"{row.unit}/m2"
    more: dict[str, Any] = {"method": f"{row.method}; per body surface area (Mosteller)", "source": row.source}
    if not isinstance(row.value, float):
        return Measurement(name, None, indexed_unit, row.state, row.reason, **more)
    if bsa is None:
        return Measurement.missing(
            name, indexed_unit, "Height and weight are not known; give them with --clinical.", **more
        )
    low, high = (None, None) if row.low is None or row.high is None else (row.low / bsa, row.high / bsa)
    return Measurement(name, row.value / bsa, indexed_unit, low=low, high=high, level=row.level, **more)


def output_rows(rows: Measurements, context: Context) -> Measurements:
    """Heart rate, cardiac output and index, mass/volume ratio."""
    out = Measurements()
    rate = context.heart_rate_bpm
    common: dict[str, Any] = {"source": context.source}
    if rate is None:
        out.add(
            Measurement.missing("heart_rate", "/min", context.heart_rate_reason, code=CODES["heart_rate"], **common)
        )
    else:
        out.add(
            Measurement(
                "heart_rate",
                rate,
                "/min",
                method="header's heart rate or RR interval, or frame times of a full cycle",
                code=CODES["heart_rate"],
                **common,
            )
        )
    sv = rows["lv_sv"]
    method = "LV stroke volume x heart rate"
    if not isinstance(sv.value, float):
        output = Measurement(
            "cardiac_output", None, "L/min", sv.state, sv.reason, code=CODES["cardiac_output"], **common
        )
    elif rate is None:
        output = Measurement.missing(
            "cardiac_output", "L/min", "The heart rate is not known.", code=CODES["cardiac_output"], **common
        )
    else:
        ends: dict[str, Any] = {}
        if sv.low is not None and sv.high is not None:
            ends = {"low": fn.cardiac_output(sv.low, rate), "high": fn.cardiac_output(sv.high, rate), "level": sv.level}
        output = Measurement(
            "cardiac_output",
            fn.cardiac_output(sv.value, rate),
            "L/min",
            method=method,
            code=CODES["cardiac_output"],
            **ends,
            **common,
        )
    out.add(output)
    out.add(_indexed(output, "cardiac_index", context.bsa_m2).with_(code=CODES["cardiac_index"]))
    mass, edv = rows["lv_mass"], rows["lv_edv"]
    if isinstance(mass.value, float) and isinstance(edv.value, float):
        out.add(
            Measurement(
                "lv_mass_volume_ratio",
                fn.mass_volume_ratio(mass.value, edv.value),
                "g/mL",
                method=context.method,
                **common,
            )
        )
    return out


def rate_rows(found: Rates | None, reason: str, context: Context) -> Measurements:
    """Peak ejection and filling rates and their times."""
    out = Measurements()
    values = (
        (None,) * 4
        if found is None
        else (
            found.peak_ejection_ml_s,
            found.time_to_peak_ejection_ms,
            found.peak_filling_ml_s,
            found.time_to_peak_filling_ms,
        )
    )
    names = (
        ("lv_peak_ejection_rate", "mL/s"),
        ("lv_time_to_peak_ejection", "ms"),
        ("lv_peak_filling_rate", "mL/s"),
        ("lv_time_to_peak_filling", "ms"),
    )
    for (name, unit_), value in zip(names, values, strict=True):
        if value is None:
            out.add(Measurement.missing(name, unit_, reason, code=CODES[name], source=context.source))
        else:
            out.add(
                Measurement(
                    name,
                    value,
                    unit_,
                    code=CODES[name],
                    source=context.source,
                    method="derivative of a periodic harmonic fit to the LV volume curve",
                )
            )
    return out
