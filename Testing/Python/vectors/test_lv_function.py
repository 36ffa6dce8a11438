"""Ventricular function from volumes: stroke volume, EF and its class, output, mass, indices."""

from LVFunctionLib import function as fn
from vector_rows import check, compare


def one(row):
    edv, esv = float(row["edv_ml"]), float(row["esv_ml"])
    bsa = float(row["bsa_m2"])
    sv = fn.stroke_volume(edv, esv)
    ef = fn.ejection_fraction(edv, esv)
    mass = fn.myocardial_mass(float(row["epi_volume_ed_ml"]) - edv)
    rel = {"rel": float(row["tolerance_rel"])}
    wrong = compare("SV", sv, row, "expected_sv_ml", **rel)
    wrong += compare("EF", ef, row, "expected_ef_pct", **rel)
    wrong += compare("CO", fn.cardiac_output(sv, float(row["heart_rate_bpm"])), row, "expected_co_l_min", **rel)
    wrong += compare("mass", mass, row, "expected_mass_g", **rel)
    wrong += compare("EDVi", edv / bsa, row, "expected_edvi_ml_m2", **rel)
    wrong += compare("mass index", mass / bsa, row, "expected_massi_g_m2", **rel)
    wrong += compare("mass/volume", fn.mass_volume_ratio(mass, edv), row, "expected_mass_volume_ratio", **rel)
    if fn.ejection_fraction_class(ef) != row["expected_ef_class"]:
        wrong.append(f"class {fn.ejection_fraction_class(ef)}, expected {row['expected_ef_class']}")
    return wrong


def test_lv_function():
    check("lv_function", one)
