"""Features of high-risk plaque as rules on given measurements: what counts, not how it is measured.

CAD-RADS 2.0 (Cury et al., J Cardiovasc Comput Tomogr 2022;16:536) calls a plaque high-risk (HRP) if it has two or more
of four features: positive remodelling, low attenuation, spotty calcification, napkin-ring sign. Every function answers
True, False, or None where its input is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

REMODELLING_FROM = 1.1
LOW_ATTENUATION_BELOW_HU = 30.0
SPOTTY_BELOW_MM = 3.0
FEATURES_FOR_HRP = 2


@dataclass(frozen=True)
class NapkinRingRule:
    """What counts as a napkin-ring sign.

    A core of low attenuation that touches the lumen, and around it a rim that is brighter but no calcium: not above 130
    HU (Maurovich-Horvat et al., JACC Cardiovasc Imaging 2012;5:1243; Otsuka et al., JACC Cardiovasc Imaging 2013;6:448;
    a sign for the eye there, and the papers were not re-read here). How much brighter and how far round is not given as
    a number, so `step_hu` and `arc_deg` are ours.

    Attributes
    ----------
    rim_max_hu : float
        Highest mean HU of the rim, inclusive.
    step_hu : float
        The rim's mean lies at least this much above the core's.
    arc_deg : float
        The rim goes at least this far round the core.
    """

    rim_max_hu: float = 130.0
    step_hu: float = 20.0
    arc_deg: float = 180.0


@dataclass(frozen=True)
class HighRiskFeatures:
    """The four features of one plaque; None where a feature was not assessed."""

    positive_remodelling: bool | None = None
    low_attenuation: bool | None = None
    spotty_calcification: bool | None = None
    napkin_ring: bool | None = None

    @property
    def count(self) -> int:
        """How many are known to be there."""
        return sum(getattr(self, f.name) is True for f in fields(self))

    @property
    def high_risk(self) -> bool | None:
        """Two or more: True. Fewer even if all that is unknown were there: False. Otherwise None."""
        unknown = sum(getattr(self, f.name) is None for f in fields(self))
        if self.count >= FEATURES_FOR_HRP:
            return True
        return None if self.count + unknown >= FEATURES_FOR_HRP else False


def positive_remodelling(index: float | None, from_index: float = REMODELLING_FROM) -> bool | None:
    """Outer vessel size at the plaque over that of the reference, 1.1 or more."""
    return None if index is None else index >= from_index


def low_attenuation(core_hu: float | None, below_hu: float = LOW_ATTENUATION_BELOW_HU) -> bool | None:
    """Mean HU of the plaque's darkest region below 30 HU; how large that region must be is the measurement's matter."""
    return None if core_hu is None else core_hu < below_hu


def spotty_calcification(
    extents_mm: Sequence[float] | None, noncalcified_mm3: float | None, below_mm: float = SPOTTY_BELOW_MM
) -> bool | None:
    """A calcification shorter than 3 mm in every direction, within non-calcified plaque.

    Parameters
    ----------
    extents_mm : sequence of float or None
        Largest extent of each calcified part of the plaque; empty where there is none.
    noncalcified_mm3 : float or None
        Volume of the plaque around.
    """
    if extents_mm is None or noncalcified_mm3 is None:
        return None
    return noncalcified_mm3 > 0 and any(0 < extent < below_mm for extent in extents_mm)


def napkin_ring(
    *,
    core_hu: float | None,
    rim_hu: float | None,
    rim_arc_deg: float | None,
    core_touches_lumen: bool | None,
    rule: NapkinRingRule | None = None,
) -> bool | None:
    """The napkin-ring sign on a cross-section, by `NapkinRingRule`; False as soon as one known condition fails."""
    rule = rule or NapkinRingRule()
    conditions = (
        core_touches_lumen,
        None if rim_hu is None else rim_hu <= rule.rim_max_hu,
        None if rim_arc_deg is None else rim_arc_deg >= rule.arc_deg,
        None if core_hu is None or rim_hu is None else rim_hu - core_hu >= rule.step_hu,
    )
    if False in conditions:
        return False
    return None if None in conditions else True


def high_risk_plaque(plaques: Iterable[HighRiskFeatures]) -> bool | None:
    """HRP of a study: one high-risk plaque is enough; False (also without plaques) only where no plaque is in doubt."""
    answers = [p.high_risk for p in plaques]
    if True in answers:
        return True
    return None if None in answers else False
