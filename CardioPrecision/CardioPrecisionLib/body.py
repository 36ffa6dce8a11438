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
    formula : {"mosteller", "dubois", "haycock", "gehan_george"}
        Mosteller, NEJM 1987;317:1098: sqrt(height · weight / 3600).
        Du Bois, Arch Intern Med 1916;17:863: 0.007184 · height^0.725 · weight^0.425.
        Haycock, J Pediatr 1978;93:62: 0.024265 · height^0.3964 · weight^0.5378.
        Gehan and George, Cancer Chemother Rep 1970;54:225: 0.0235 · height^0.42246 · weight^0.51456.

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
    if formula == "haycock":
        return float(0.024265 * height_cm**0.3964 * weight_kg**0.5378)
    if formula == "gehan_george":
        return float(0.0235 * height_cm**0.42246 * weight_kg**0.51456)
    known = "mosteller, dubois, haycock or gehan_george"
    raise InputError(f"body surface area formula '{formula}' is not known; use {known}.")
