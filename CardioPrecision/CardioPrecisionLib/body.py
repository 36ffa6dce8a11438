"""Body size."""

from __future__ import annotations

from .errors import InputError

HEIGHT_CM = (30.0, 260.0)
WEIGHT_KG = (1.0, 400.0)


def body_surface_area(height_cm: float, weight_kg: float, formula: str = "mosteller") -> float:
    """Body surface area in m².

    Parameters
    ----------
    height_cm, weight_kg : float
    formula : {"mosteller", "dubois"}
        Mosteller, NEJM 1987;317:1098: sqrt(height · weight / 3600).
        Du Bois, Arch Intern Med 1916;17:863: 0.007184 · height^0.725 · weight^0.425.

    Raises
    ------
    InputError
        Height or weight outside what a person can have, or an unknown formula.
    """
    if not HEIGHT_CM[0] <= height_cm <= HEIGHT_CM[1]:
        raise InputError(f"height {height_cm:g} cm is outside {HEIGHT_CM[0]:g}..{HEIGHT_CM[1]:g} cm; give it in cm.")
    if not WEIGHT_KG[0] <= weight_kg <= WEIGHT_KG[1]:
        raise InputError(f"weight {weight_kg:g} kg is outside {WEIGHT_KG[0]:g}..{WEIGHT_KG[1]:g} kg; give it in kg.")
    if formula == "mosteller":
        return float((height_cm * weight_kg / 3600.0) ** 0.5)
    if formula == "dubois":
        return float(0.007184 * height_cm**0.725 * weight_kg**0.425)
    raise InputError(f"body surface area formula '{formula}' is not known; use mosteller or dubois.")
