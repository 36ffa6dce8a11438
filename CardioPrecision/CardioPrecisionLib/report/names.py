"""Plain words for measurement names and sites, readable units, and as many digits as a unit deserves."""

from __future__ import annotations

import re

#: Group of names in the measurement table, told from the first word; in the order of display.
_GROUPS = {
    "lv": "Left ventricle",
    "rv": "Right ventricle",
    "la": "Atria",
    "ra": "Atria",
    "wall": "Left ventricular wall",
    "strain": "Strain",
    "scar": "Scar",
    "t1": "Tissue",
    "t2": "Tissue",
    "extracellular": "Tissue",
    "heart": "Circulation",
    "cardiac": "Circulation",
    "stroke": "Circulation",
    "agatston": "Coronary calcium",
    "calcium": "Coronary calcium",
    "cac": "Coronary calcium",
    "arterial": "Coronary calcium",
    "aortic": "Aortic valve",
    "diameter": "Coronary stenosis",
    "area": "Coronary stenosis",
    "cad": "Coronary stenosis",
    "ffr": "Coronary stenosis",
    "duke": "Coronary stenosis",
    "segment": "Coronary stenosis",
    "plaque": "Coronary plaque",
    "percent": "Coronary plaque",
    "remodeling": "Coronary plaque",
    "high": "Coronary plaque",
    "minimal": "Coronary stenosis",
    "reference": "Coronary stenosis",
    "lesion": "Coronary stenosis",
    "pericoronary": "Fat",
    "epicardial": "Fat",
    "risk": "Risk",
    "body": "Body size",
}
OTHER = "Other"

_TITLES = {
    "lv_edv": "LV end-diastolic volume",
    "lv_esv": "LV end-systolic volume",
    "lv_sv": "LV stroke volume",
    "lv_ef": "LV ejection fraction",
    "lv_mass": "LV mass",
    "lv_mass_volume_ratio": "LV mass to volume ratio",
    "rv_edv": "RV end-diastolic volume",
    "rv_esv": "RV end-systolic volume",
    "rv_sv": "RV stroke volume",
    "rv_ef": "RV ejection fraction",
    "rv_edv_max": "RV largest volume of the cycle",
    "rv_esv_min": "RV smallest volume of the cycle",
    "heart_rate": "Heart rate",
    "cardiac_output": "Cardiac output",
    "cardiac_index": "Cardiac index",
    "wall_thickness": "Wall thickness",
    "wall_thickening": "Systolic wall thickening",
    "strain_global_longitudinal": "Global longitudinal strain",
    "strain_global_circumferential": "Global circumferential strain",
    "strain_global_radial": "Global radial strain",
    "scar_fraction": "Scar, share of LV mass",
    "t1_native": "Native T1",
    "extracellular_volume": "Extracellular volume fraction",
    "agatston_score": "Agatston score",
    "agatston_score_3mm": "Agatston score on 3 mm averages",
    "agatston_category": "Agatston category",
    "calcium_lesion_count": "Calcified lesions",
    "calcium_volume": "Calcium volume",
    "calcium_volume_isotropic": "Calcium volume, interpolated",
    "calcium_mass": "Calcium mass",
    "calcium_density": "Calcium density score",
    "calcium_attenuation_mean": "Calcium attenuation, mean",
    "calcium_attenuation_max": "Calcium attenuation, maximum",
    "cac_drs": "CAC-DRS category",
    "cac_percentile_mesa": "Agatston percentile (MESA)",
    "cac_percentile_hoff": "Agatston percentile (Hoff)",
    "arterial_age": "Arterial age",
    "aortic_valve_stenosis_likelihood": "Severe aortic stenosis by valve calcium",
    "cad_rads": "CAD-RADS",
    "ffr_ct": "FFR-CT",
    "diameter_stenosis": "Diameter stenosis",
    "area_stenosis": "Area stenosis",
    "percent_atheroma_volume": "Percent atheroma volume",
    "remodeling_index": "Remodelling index",
    "high_risk_plaque": "High-risk plaque",
    "high_risk_features": "High-risk features",
    "cad_rads_modifiers": "CAD-RADS modifiers",
    "segment_involvement_score": "Segment involvement score",
    "segment_stenosis_score": "Segment stenosis score",
    "duke_index": "Duke index",
    "la_volume_max": "Left atrial maximum volume",
    "body_surface_area": "Body surface area",
}

#: Measurements that a reader looks for first, in this order; an analysis may name its own in ``record["headline"]``.
HEADLINE = (
    "lv_ef",
    "lv_edv",
    "lv_esv",
    "lv_sv",
    "lv_mass",
    "cardiac_output",
    "rv_ef",
    "rv_edv",
    "rv_esv",
    "strain_global_longitudinal",
    "strain_global_circumferential",
    "scar_fraction",
    "extracellular_volume",
    "t1_native",
    "agatston_score",
    "cac_percentile_mesa",
    "arterial_age",
    "cac_drs",
    "calcium_volume",
    "cad_rads",
    "diameter_stenosis",
    "plaque_volume",
    "percent_atheroma_volume",
)

_WORDS = {
    "lv": "LV",
    "rv": "RV",
    "la": "left atrial",
    "ra": "right atrial",
    "edv": "end-diastolic volume",
    "esv": "end-systolic volume",
    "sv": "stroke volume",
    "ef": "ejection fraction",
    "bsa": "body surface area",
    "ffr": "FFR",
    "ct": "CT",
    "t1": "T1",
    "t2": "T2",
    "rr": "RR",
    "hr": "heart rate",
    "ascvd": "ASCVD",
    "cvd": "CVD",
    "chd": "CHD",
    "prevent": "PREVENT",
    "score2": "SCORE2",
    "10y": "10 years",
    "30y": "30 years",
    "5y": "5 years",
}
#: Words that qualify what stands before or after them; they are put behind it, after a comma.
_QUALIFIERS = {
    "min": "minimum",
    "max": "maximum",
    "mean": "mean",
    "sd": "SD",
    "median": "median",
    "index": "per body surface area",
}

_PHASES = {"ed": "at end-diastole", "es": "at end-systole"}

_AHA = (
    "basal anterior",
    "basal anteroseptal",
    "basal inferoseptal",
    "basal inferior",
    "basal inferolateral",
    "basal anterolateral",
    "mid anterior",
    "mid anteroseptal",
    "mid inferoseptal",
    "mid inferior",
    "mid inferolateral",
    "mid anterolateral",
    "apical anterior",
    "apical septal",
    "apical inferior",
    "apical lateral",
    "apex",
)
#: Short names of the coronary segments of the SCCT, 1 to 18.
_SCCT = (
    *("pRCA", "mRCA", "dRCA", "R-PDA", "LM", "pLAD", "mLAD", "dLAD", "D1", "D2", "pLCX", "OM1", "m/dLCX", "OM2"),
    *("L-PDA", "R-PLB", "RI", "L-PLB"),
)
_SITES = {
    "LM": "left main",
    "LAD": "left anterior descending",
    "LCX": "left circumflex",
    "RCA": "right coronary artery",
    "total": "total",
    "aorta": "aorta",
    "aortic_valve": "aortic valve",
    "mitral_valve": "mitral valve",
}

_UNITS = {
    "1": "",
    "": "",
    "/min": "bpm",
    "{beats}/min": "bpm",
    "mm[Hg]": "mmHg",
    "[hnsf'U]": "HU",
    "a": "years",
    "Cel": "°C",
    "deg": "°",
    "um": "µm",
    "us": "µs",
}
_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")

#: Decimals by unit; where a pair, (below 100, from 100 on).
_DECIMALS: dict[str, int | tuple[int, int]] = {
    "mL": (1, 0),
    "g": (1, 0),
    "mg": (1, 0),
    "mL/m2": 1,
    "g/m2": 1,
    "g/mL": 2,
    "%": 1,
    "mm": 1,
    "mm2": 1,
    "mm3": (1, 0),
    "cm": 1,
    "cm2": 1,
    "ms": 0,
    "s": 2,
    "/min": 0,
    "{beats}/min": 0,
    "L/min": 1,
    "L/min/m2": 1,
    "L/(min.m2)": 1,
    "mL/s": 0,
    "mL/s/m2": 0,
    "mL/(s.m2)": 0,
    "[hnsf'U]": 0,
    "m2": 2,
    "kg": 1,
    "kg/m2": 1,
    "a": 0,
    "mm[Hg]": 0,
    "deg": 0,
    "/s": 2,
}


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def title_of(name: str) -> str:
    """A measurement name in plain words: ``lv_edv_index`` → "LV end-diastolic volume index"."""
    if name in _TITLES:
        return _TITLES[name]
    if name.endswith("_index") and name[:-6] in _TITLES:
        return _TITLES[name[:-6]] + " index"
    base = name
    tail: list[str] = []
    while base not in _TITLES:  # the longest known beginning, the rest word by word
        base, _, last = base.rpartition("_")
        if not base:
            break
        tail.insert(0, last)
    words = [_TITLES[base]] if base else []
    qualifiers = []
    for word in tail if base else name.split("_"):
        if word in _QUALIFIERS:
            qualifiers.append(_QUALIFIERS[word])
        elif word in _PHASES:
            words.append(_PHASES[word])
        else:
            words.append(_WORDS.get(word, word))
    return _sentence(", ".join([*filter(None, [" ".join(words)]), *qualifiers])) or name


def group_of(name: str) -> str:
    """The heading under which a measurement is listed."""
    return _GROUPS.get(name.split("_")[0], OTHER)


def group_order(group: str) -> int:
    order = list(dict.fromkeys(_GROUPS.values()))
    return order.index(group) if group in order else len(order)


def site_of(site: str | None) -> str:
    """A site in plain words: ``aha01`` → "1 basal anterior"; unknown sites as they are."""
    if not site:
        return ""
    if (aha := re.fullmatch(r"aha(\d\d)", site)) and 1 <= int(aha[1]) <= 17:
        return f"{int(aha[1])} {_AHA[int(aha[1]) - 1]}"
    if numbered := re.fullmatch(r"(lesion|scct)(\d+)", site):
        n = int(numbered[2])
        if numbered[1] == "lesion":
            return f"lesion {n}"
        return f"segment {n} {_SCCT[n - 1]}" if 1 <= n <= len(_SCCT) else f"segment {n}"
    return _SITES.get(site, site)


def unit_of(unit: str | None) -> str:
    """A UCUM unit as people write it: ``mL/m2`` → "mL/m²", ``/min`` → "bpm"."""
    unit = unit or ""
    if unit in _UNITS:
        return _UNITS[unit]
    text = re.sub(r"\{([^}]*)\}", r"\1", unit.replace("mm[Hg]", "mmHg"))
    text = re.sub(r"10\*(-?\d+)", lambda m: "10" + m[1].translate(_SUPERSCRIPT), text)
    text = re.sub(r"(?<=[A-Za-zµ])-?\d+", lambda m: m[0].translate(_SUPERSCRIPT), text)
    return text.replace(".", "·")


def decimals_of(unit: str | None, value: float) -> int:
    """Decimals that suit a value in this unit; an unknown unit gets three significant digits."""
    rule = _DECIMALS.get(unit or "1")
    size = abs(value)
    if isinstance(rule, tuple):
        return rule[0] if size < 100 else rule[1]
    if rule is not None:
        return rule
    if size == 0 or (size >= 100) or float(value).is_integer():
        return 0
    digits = 2
    while size < 1 and digits < 6:
        size *= 10
        digits += 1
    return digits - (1 if size >= 10 else 0)


def number(value: float | str | None, unit: str | None = None, decimals: int | None = None) -> str:
    """A number with a true minus sign and the unit's digits; text as it is, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, (int, float)):
        return str(value)
    if value != value or value in (float("inf"), float("-inf")):
        return "–"
    text = f"{value:.{decimals_of(unit, value) if decimals is None else decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def quantity(value: float | str | None, unit: str | None) -> str:
    """Number and unit, held together by a no-break space."""
    shown = unit_of(unit)
    text = number(value, unit)
    return f"{text}\u00a0{shown}" if shown and text != "–" else text


def span(low: float | None, high: float | None, unit: str | None, decimals: int | None = None) -> str:
    """A range: "52–79", "−22 to −16", "≥ 52", "≤ 79" or nothing."""
    if low is None and high is None:
        return ""
    if high is None:
        return f"≥ {number(low, unit, decimals)}"
    if low is None:
        return f"≤ {number(high, unit, decimals)}"
    joint = " to " if low < 0 else "–"
    return f"{number(low, unit, decimals)}{joint}{number(high, unit, decimals)}"
