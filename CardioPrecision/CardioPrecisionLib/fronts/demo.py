"""The demo: a synthetic patient, written as DICOM, through the ordinary route; measured beside true values."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..analysis import Progress, part, silent
from .console import interval_text
from .registry import get_analysis
from .runner import RunOutcome, require_licences, run_analysis

_ANALYSIS = "lv-function"


def run_demo(
    output: str | Path, progress: Progress = silent, *, style: str = "siemens", command: list[str] | None = None
) -> tuple[RunOutcome, list[list[str]]]:
    """Write the synthetic patient's DICOM to a temporary folder, analyse it and compare with the truth.

    Parameters
    ----------
    output : path
        Output folder of the run.
    style : str
        Vendor whose DICOM layout is written.

    Returns
    -------
    outcome : RunOutcome
    rows : list of list of str
        Measurement, measured value, interval, true value, as shown.
    """
    from ..output import OutputFolder
    from ..phantom import demo_patient
    from ..report.names import quantity, title_of

    OutputFolder(output).check()
    require_licences(get_analysis(_ANALYSIS))
    progress(0.0, "Making a synthetic patient")
    patient = demo_patient()
    with tempfile.TemporaryDirectory(prefix="cardioprecision-demo-") as folder:
        study = Path(folder) / "dicom"
        patient.write_dicom(study, style)
        outcome = run_analysis(
            _ANALYSIS, {"cine_sax": study}, output, progress=part(progress, 0.15, 1.0), command=command
        )
    rows = []
    for name, true in patient.sample.measurements.items():
        row = outcome.result.measurements.get(name)
        if row is not None:
            measured = quantity(row.value, row.unit) if row.state.has_value else row.state.value.replace("_", " ")
            rows.append([title_of(name), measured, interval_text(row), quantity(true, row.unit)])
    return outcome, rows
