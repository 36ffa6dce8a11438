"""Who the patient is, as far as a run may know: header and entered values, and a keyed hash instead of a name."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import hmac
import io
import json
import math
import os
import secrets
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from .errors import InputError
from .measurement import Patient
from .settings import config_folder

#: Ranges outside of which a value is a mistake, not a patient. Height down to a preterm newborn's.
AGE_YEARS = (0.0, 120.0)
HEIGHT_CM = (25.0, 250.0)
WEIGHT_KG = (0.3, 400.0)
#: How far a header and an entered number may differ before the user hears of it.
DISAGREEMENT = 0.05

_SECRET_FILE = "patient-key.secret"  # noqa: S105  (a file name)
_SECRET_BYTES = 32


# -- the key -----------------------------------------------------------------------------------------------------------
def _read_secret(path: Path) -> bytes | None:
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    return secret if len(secret) >= _SECRET_BYTES else None


def _secret() -> bytes | None:
    """The secret of this user on this machine, made on first use; None where it can be neither read nor kept."""
    path = config_folder() / _SECRET_FILE
    if os.path.exists(path):
        return _read_secret(path)
    temporary = path.with_name(f"{_SECRET_FILE}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
        try:
            # A link, unlike a rename, does not replace the secret that another process made a moment ago.
            os.link(temporary, path)
        except FileExistsError:
            pass
        except OSError:  # no hard links on this file system
            if not path.exists():
                os.replace(temporary, path)
    except OSError:
        return None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return _read_secret(path)


def patient_key(patient_id: str, issuer: str = "") -> str | None:
    """Keyed hash (HMAC-SHA256, first 32 hex digits) that recognises a patient on this machine and says nothing else.

    Parameters
    ----------
    patient_id, issuer : str
        DICOM PatientID and IssuerOfPatientID.

    Returns
    -------
    str or None
        None for an empty ID, or where the secret cannot be kept.
    """
    if not patient_id.strip():
        return None
    secret = _secret()
    if secret is None:
        return None
    message = f"{issuer.strip()}\0{patient_id.strip()}".encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()[:32]


# -- from DICOM --------------------------------------------------------------------------------------------------------
def _text(ds: Any, keyword: str) -> str:
    """A header value as text, "" where it is absent or malformed (pydicom raises only when it is looked at)."""
    try:
        value = ds.get(keyword)
    except Exception:
        return ""
    if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
        value = value[0] if len(value) else None
    return "" if value is None else str(value).strip()


def _number(ds: Any, keyword: str) -> float | None:
    try:
        number = float(_text(ds, keyword))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(ds: Any, keyword: str) -> date | None:
    digits = _text(ds, keyword).replace(".", "").replace("-", "")[:8]
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return None


def _age(ds: Any) -> float | None:
    text = _text(ds, "PatientAge").upper()
    per_year = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}
    age: float | None = None
    if text and text[-1] in per_year and text[:-1].strip().isdigit():
        age = round(int(text[:-1]) / per_year[text[-1]], 2)
    elif text.isdigit():
        age = float(int(text))
    if not age:  # absent, or the zero that de-identification leaves
        birth = _date(ds, "PatientBirthDate")
        study = _date(ds, "StudyDate") or _date(ds, "AcquisitionDate") or _date(ds, "SeriesDate")
        if birth and study and birth <= study:
            years = (study - birth).days / 365.25
            had_birthday = (study.month, study.day) >= (birth.month, birth.day)
            age = float(study.year - birth.year - (not had_birthday)) if years >= 2 else round(years, 2)
    return age if age is not None and 0 < age <= AGE_YEARS[1] else None


def read_dicom_patient(ds: Any) -> tuple[Patient, list[str]]:
    """What a DICOM header says of its patient, and what in it could not be believed.

    Parameters
    ----------
    ds : pydicom.Dataset

    Returns
    -------
    patient : Patient
    warnings : list of str
        Values that were converted or dropped; no identifiers.
    """
    warnings = []
    height = _number(ds, "PatientSize")
    if height is not None and height > 0:
        if HEIGHT_CM[0] <= height <= HEIGHT_CM[1]:  # PatientSize is in metres; nobody is 30 m tall
            warnings.append(f"The header gives the patient's size as {height:g} m; it was read as {height:g} cm.")
        else:
            metres, height = height, height * 100.0
            if not HEIGHT_CM[0] <= height <= HEIGHT_CM[1]:
                warnings.append(f"The header's patient size of {metres:g} m is not possible and was not used.")
                height = None
    else:
        height = None
    weight = _number(ds, "PatientWeight")
    if weight is not None and not WEIGHT_KG[0] <= weight <= WEIGHT_KG[1]:
        if weight != 0:
            warnings.append(f"The header's patient weight of {weight:g} kg is not possible and was not used.")
        weight = None
    study = _date(ds, "StudyDate")
    return Patient(
        key=patient_key(_text(ds, "PatientID"), _text(ds, "IssuerOfPatientID")),
        sex={"M": "male", "F": "female"}.get(_text(ds, "PatientSex").upper()),
        age_years=_age(ds),
        height_cm=round(height, 1) if height is not None else None,
        weight_kg=round(weight, 2) if weight is not None else None,
        study_date=study.isoformat() if study else None,
    ), warnings


def patient_from_dicom(ds: Any) -> Patient:
    """The patient part of `read_dicom_patient`."""
    return read_dicom_patient(ds)[0]


# -- entered values ----------------------------------------------------------------------------------------------------
_YES_NO = {"yes": True, "no": False, "true": True, "false": False, "1": True, "0": False, "y": True, "n": False}
#: Numeric clinical fields and the range in which a value can be true.
NUMERIC_FIELDS: dict[str, tuple[float, float]] = {
    "age_years": AGE_YEARS,
    "height_cm": HEIGHT_CM,
    "weight_kg": WEIGHT_KG,
    "sbp_mmhg": (40, 300),
    "total_chol_mg_dl": (20, 1000),
    "total_chol_mmol_l": (0.5, 26),
    "hdl_chol_mg_dl": (5, 300),
    "hdl_chol_mmol_l": (0.1, 8),
    "bmi_kg_m2": (8, 120),
    "egfr_ckdepi2021_ml_min_173": (0, 250),
    "uacr_mg_g": (0, 30000),
    "hba1c_pct": (2, 25),
    "sdi_decile": (1, 10),
    "cac_agatston": (0, 20000),
}
YES_NO_FIELDS = ("bp_treated", "statin", "diabetes", "current_smoker")
TEXT_FIELDS = ("race", "risk_region")
ALIASES = {"bp_med": "bp_treated", "smoking": "current_smoker"}
_SEXES = {"male": "male", "m": "male", "female": "female", "f": "female"}


@dataclass(frozen=True)
class Clinical:
    """An entered clinical file: the patient's own fields, everything else in it, and what a user must know of it."""

    patient: Patient
    fields: dict[str, Any]
    warnings: list[str]
    sha256: str


def _rows_of_csv(text: str, path: Path) -> dict[str, Any]:
    first_line = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first_line.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if any(cell.strip() for cell in row)]
    if len(rows) != 2:
        raise InputError(
            f"{path}: a clinical CSV has one header line and one row of values; "
            f"this one has {max(len(rows) - 1, 0)} rows of values."
        )
    header = [name.strip() for name in rows[0]]
    if len(set(header)) != len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise InputError(f"{path}: the column {', '.join(twice)} is there more than once.")
    if len(rows[1]) != len(header):
        raise InputError(f"{path}: the header has {len(header)} columns and the row {len(rows[1])}.")
    values = [cell.strip().replace(",", ".") if delimiter == ";" else cell.strip() for cell in rows[1]]
    return dict(zip(header, values, strict=True))


def _checked_number(name: str, value: Any, path: Path) -> float:
    low, high = NUMERIC_FIELDS[name]
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{path}: {name} must be a number from {low:g} to {high:g}.") from None
    if not (math.isfinite(number) and low <= number <= high):
        raise InputError(f"{path}: {name} is {number:g}; it must be from {low:g} to {high:g}.")
    return number


def _checked(name: str, value: Any, path: Path) -> Any:
    if name in NUMERIC_FIELDS:
        return _checked_number(name, value, path)
    if name == "sex":
        sex = _SEXES.get(str(value).strip().lower())
        if sex is None:
            raise InputError(f"{path}: sex must be male or female.")
        return sex
    if name in YES_NO_FIELDS:
        answer = _YES_NO.get(str(value).strip().lower())
        if answer is None:
            raise InputError(f"{path}: {name} must be yes or no.")
        return answer
    if name == "study_date":
        try:
            return date.fromisoformat(str(value)).isoformat()
        except ValueError:
            raise InputError(f"{path}: study_date must be written YYYY-MM-DD.") from None
    return value


def read_clinical(path: str | Path) -> Clinical:
    """Read entered clinical values: a JSON object, or a CSV of one row.

    Parameters
    ----------
    path : path
        ``.json``, or anything else as CSV (comma, semicolon or tab). Empty values count as not entered.

    Raises
    ------
    InputError
        The file cannot be read, or a value is out of its range; the message names field and range.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the clinical file cannot be read ({error.strerror}).") from None
    try:
        text = content.decode("utf-8-sig")
        values = json.loads(text) if path.suffix.lower() == ".json" else _rows_of_csv(text, path)
    except (UnicodeDecodeError, json.JSONDecodeError, csv.Error):
        raise InputError(
            f"{path}: a clinical file is a JSON object or a CSV with one row of values, in UTF-8; this is neither."
        ) from None
    if not isinstance(values, dict):
        raise InputError(f"{path}: a clinical JSON file holds one object of field names and values.")
    known = {*NUMERIC_FIELDS, *YES_NO_FIELDS, *TEXT_FIELDS, "sex", "study_date"}
    fields: dict[str, Any] = {}
    unknown = []
    for given, value in values.items():
        name = ALIASES.get(given, given)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if name in fields:
            raise InputError(f"{path}: {name} is given twice (once as {given}).")
        if name not in known:
            unknown.append(name)
        fields[name] = _checked(name, value, path)
    warnings = [f"The clinical file's field {name} is not known here and was ignored." for name in unknown]
    own = {
        name: fields.pop(name)
        for name in ("sex", "age_years", "height_cm", "weight_kg", "study_date")
        if name in fields
    }
    return Clinical(Patient(**own), fields, warnings, hashlib.sha256(content).hexdigest())


def merge(header: Patient, entered: Patient) -> tuple[Patient, list[str]]:
    """Header and entered values as one patient: what was entered wins, and a disagreement is a warning."""
    titles = {
        "age_years": ("age", "years", 1.0),
        "height_cm": ("height", "cm", 0.0),
        "weight_kg": ("weight", "kg", 0.0),
    }
    warnings = []
    given = {name: value for name, value in asdict(entered).items() if value is not None}
    for name, value in given.items():
        other = getattr(header, name)
        if other is None or other == value:
            continue
        if name == "sex":
            warnings.append(f"Sex was entered as {value}, the header says {other}; the entered value was used.")
        elif name in titles:
            title, unit, least = titles[name]
            if abs(value - other) > max(DISAGREEMENT * abs(other), least):
                warnings.append(
                    f"The {title} was entered as {value:g} {unit}, the header says {other:g} {unit}; "
                    "the entered value was used."
                )
        elif name == "study_date":
            warnings.append(
                f"The study date was entered as {value}, the header says {other}; the entered value was used."
            )
    return replace(header, **given), warnings
