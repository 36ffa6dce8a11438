"""Which modality a column belongs to, told from the names that the project knows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ..clinical.fields import field_name, fields

CLINICAL = "clinical"

#: Group of the field table -> modality. Entered imaging values do not say which machine they came from.
_OF_FIELD_GROUP: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("patient", "vitals", "lipids", "metabolism", "history", "medication", "biomarkers"), CLINICAL),
        "genetics": "genetics",
        "ecg": "ecg",
        "imaging": "imaging_entered",
    }
)
#: First word of a measurement's name -> modality of the module that measures it.
_OF_FIRST_WORD: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("lv", "rv", "la", "ra", "wall", "strain", "cardiac", "stroke"), "cine_cmr"),
        **dict.fromkeys(("scar", "t1", "t2", "extracellular"), "tissue_cmr"),
        **dict.fromkeys(("agatston", "calcium", "cac", "arterial", "aortic", "mitral"), "calcium_ct"),
        **dict.fromkeys(
            (
                "diameter", "area", "cad", "ffr", "duke", "segment", "plaque", "percent", "remodeling", "pericoronary",
                "epicardial",
            ),
            "coronary_ct",
        ),
        "risk": CLINICAL,  # the scores are made of clinical values
    }
)  # fmt: skip


def clinical_field(column: str) -> str | None:
    """The clinical field that a column is; None for other columns, measurements that could fill a field among them.

    Where ``lv_ef_pct`` was entered by somebody, ``lv_ef`` was measured by the module for cine CMR.
    """
    name = column.strip().lower()
    measured = any(f.measurement == name for f in fields().values())
    return None if measured else field_name(name)


def modality_of(column: str) -> str | None:
    """The modality of a clinical field or of a measurement, ``name`` or ``name@site``; None where it is not known.

    Examples
    --------
    >>> modality_of("age"), modality_of("lv_ef"), modality_of("wall_thickness@aha01"), modality_of("ward")
    ('clinical', 'cine_cmr', 'cine_cmr', None)
    """
    field = clinical_field(column)
    if field == "cac_agatston":
        return "calcium_ct"
    if field is not None:
        return _OF_FIELD_GROUP[fields()[field].group]
    name = column.strip().lower().partition("@")[0]
    first, underscore, _ = name.partition("_")
    return _OF_FIRST_WORD.get(first) if underscore else None
