"""The files of ``Testing/Data/risk``: one synthetic patient, measured by the product on phantoms.

``python Testing/Python/risk_data.py`` writes them again. Nobody is behind them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "Data" / "risk"
CLINICAL = {
    "sex": "male", "age_years": 61, "race": "white", "height_cm": 178, "weight_kg": 92, "sbp_mmhg": 148,
    "total_chol_mg_dl": 228, "hdl_chol_mg_dl": 41, "ldl_chol_mg_dl": 152, "bp_treated": True, "statin": False,
    "diabetes": False, "current_smoker": True, "creatinine_mg_dl": 1.05, "uacr_mg_g": 22, "risk_region": "moderate",
    "prior_ascvd": False, "heart_failure": False, "chest_pain": "atypical", "dyspnoea": False, "hypertension": True,
    "dyslipidaemia": True, "family_history_cad": {"value": None, "state": "unknown"},
}  # fmt: skip
#: What the bundle does not say.
ENTERED = {
    "race": "white", "risk_region": "moderate", "statin": False, "chest_pain": "atypical", "dyspnoea": False,
    "family_history_cad": False, "family_history_mi": False, "lipid_med": False, "high_bleeding_risk": False,
}  # fmt: skip
LOINC, UCUM, SNOMED = "http://loinc.org", "http://unitsofmeasure.org", "http://snomed.info/sct"
ATC = "http://www.whocc.no/atc"
SUBJECT = {"reference": "Patient/synthetic"}


def observation(code: str, value: float, unit: str, day: str = "2025-03-03") -> dict:
    return {
        "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": SUBJECT, "effectiveDateTime": day,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }  # fmt: skip


def coded(kind: str, name: str, system: str, code: str, **more: object) -> dict:
    return {"resourceType": kind, name: {"coding": [{"system": system, "code": code}]}, "subject": SUBJECT, **more}


def bundle() -> dict:
    """The patient of `CLINICAL` as far as FHIR has places for it, with things that nothing here reads."""
    pressure = {
        "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": "85354-9"}]},
        "subject": SUBJECT, "effectiveDateTime": "2025-03-03",
        "component": [
            {"code": {"coding": [{"system": LOINC, "code": code}]},
             "valueQuantity": {"value": value, "unit": "mm[Hg]", "system": UCUM, "code": "mm[Hg]"}}
            for code, value in (("8480-6", 148), ("8462-4", 92))
        ],
    }  # fmt: skip
    smoking = {
        "resourceType": "Observation", "status": "final", "code": {"coding": [{"system": LOINC, "code": "72166-2"}]},
        "subject": SUBJECT, "effectiveDateTime": "2025-03-03",
        "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": "449868002"}]},
    }  # fmt: skip
    refuted = {"coding": [{"code": "refuted"}]}
    resources = [
        {"resourceType": "Patient", "id": "synthetic", "gender": "male", "birthDate": "1963-09-20"},
        observation("8302-2", 178, "cm"), observation("29463-7", 92, "kg"), pressure, smoking,
        observation("2093-3", 228, "mg/dL"), observation("2093-3", 251, "mg/dL", "2021-05-05"),
        observation("2085-9", 41, "mg/dL"), observation("13457-7", 152, "mg/dL"),
        observation("2160-0", 1.05, "mg/dL"), observation("9318-7", 22, "mg/g"), observation("4548-4", 5.6, "%"),
        observation("718-7", 14.8, "g/dL"), observation("2951-2", 140, "mmol/L"),
        coded("Condition", "code", SNOMED, "38341003"), coded("Condition", "code", SNOMED, "55822004"),
        coded("Condition", "code", SNOMED, "396275006"),
        coded("Condition", "code", SNOMED, "73211009", verificationStatus=refuted),
        coded("Condition", "code", SNOMED, "53741008", verificationStatus=refuted),
        coded("Condition", "code", SNOMED, "84114007", verificationStatus=refuted),
        coded("MedicationStatement", "medicationCodeableConcept", ATC, "C09AA05", status="active"),
        coded("MedicationStatement", "medicationCodeableConcept", ATC, "A02BC02", status="active"),
        {"resourceType": "Encounter", "status": "finished"},
    ]  # fmt: skip
    return {
        "resourceType": "Bundle", "type": "collection", "timestamp": "2025-03-10T09:00:00Z",
        "entry": [{"resource": r} for r in resources],
    }  # fmt: skip


def measured_calcium(folder: Path) -> Path:
    """A phantom chest and its own labels through the product."""
    import calcium_cases
    from CardioPrecisionLib.fronts.runner import run_analysis
    from CardioPrecisionLib.image import write_nifti
    from CardioPrecisionLib.labels import LabelSource

    made = calcium_cases.sample()
    image = folder / "ct.nii.gz"
    write_nifti(image, made.image.array, made.image.affine)
    labels = calcium_cases.write_labels(folder / "labels.nii.gz", made.labels)
    clinical = folder / "clinical.json"
    clinical.write_text(json.dumps({"sex": "male", "age_years": 61, "race": "white"}), encoding="utf-8")
    out = folder / "calcium"
    run_analysis("calcium", {"cardiac_ct": image}, out, parameters={"figures": False}, clinical=clinical,
                 labels=LabelSource((labels,)))  # fmt: skip
    return out / "measurements.json"


def measured_lv(folder: Path) -> Path:
    """A phantom heart and its own labels through the product."""
    from CardioPrecisionLib.fronts.runner import run_analysis
    from CardioPrecisionLib.image import write_nifti
    from CardioPrecisionLib.labels import LabelSource
    from CardioPrecisionLib.phantom import demo_patient

    sample = demo_patient().sample
    image, labels = folder / "cine.nii.gz", folder / "lv.nii.gz"
    frames = sample.sequence
    write_nifti(image, np.stack(list(frames)), frames.affine, 40.0)
    write_nifti(labels, sample.labels, frames.affine, 40.0)
    clinical = folder / "clinical.json"
    clinical.write_text(
        json.dumps({"sex": "male", "age_years": 61, "height_cm": 178, "weight_kg": 92}), encoding="utf-8"
    )
    out = folder / "lv"
    run_analysis("lv-function", {"cine_sax": image}, out, clinical=clinical, labels=LabelSource((labels,)))
    return out / "measurements.json"


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, document in (("clinical", CLINICAL), ("bundle", bundle()), ("entered", ENTERED)):
        text = json.dumps(document, indent=1)
        (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(measured_calcium(Path(folder)), FOLDER / "calcium.measurements.json")
        shutil.copy(measured_lv(Path(folder)), FOLDER / "lv-function.measurements.json")


if __name__ == "__main__":
    main()
