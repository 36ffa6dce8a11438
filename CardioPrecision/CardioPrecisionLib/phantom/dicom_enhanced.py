"""The enhanced multi-frame form of a cine phantom (Enhanced MR Image Storage)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from ..image import spacing_of

if TYPE_CHECKING:
    from .dicom_cine import _Job


def _item(**values: object) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def _sequence(**values: object) -> Sequence:
    return Sequence([_item(**values)])


def enhanced_dataset(ds: Dataset, job: _Job) -> None:
    """Turn a common header into one multi-frame image: functional groups, dimensions and all pixels."""
    n, _, _, n_slices = job.frames.shape
    ds.SOPInstanceUID = job.uid(ds.SeriesInstanceUID, "instance")
    ds.InstanceNumber, ds.AcquisitionNumber = 1, 1
    ds.NumberOfFrames = n * n_slices
    ds.AcquisitionDateTime = job.study_date + job.acquired(0)
    ds.AcquisitionDuration = 15.0 * n_slices
    del ds.AcquisitionDate, ds.AcquisitionTime
    for keyword, value in {
        "PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE",
        "ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "UNKNOWN", "ContentQualification": "RESEARCH",
        "ResonantNucleus": "1H", "KSpaceFiltering": "NONE", "MRAcquisitionType": "2D", "PulseSequenceName": "B-SSFP",
        "EchoPulseSequence": "GRADIENT", "MultipleSpinEcho": "NO", "MultiPlanarExcitation": "NO",
        "PhaseContrast": "NO", "TimeOfFlightContrast": "NO", "SteadyStatePulseSequence": "BALANCED",
        "EchoPlanarPulseSequence": "NO", "SaturationRecovery": "NO", "SpectrallySelectedSuppression": "NONE",
        "OversamplingPhase": "NONE", "GeometryOfKSpaceTraversal": "RECTILINEAR", "RectilinearPhaseEncodeReordering":
        "LINEAR", "SegmentedKSpaceTraversal": "PARTIAL", "CoverageOfKSpace": "FULL",
        "CardiacSynchronizationTechnique": "RETROSPECTIVE", "CardiacSignalSource": "ECG", "BurnedInAnnotation": "NO",
        "CardiacRRIntervalSpecified": float(job.rr.mean()), "BeatRejectionFlag": "NO", "LossyImageCompression": "00",
        "PresentationLUTShape": "IDENTITY", "IsocenterPosition": [0.0, 0.0, 0.0], "B1rms": 1.0,
    }.items():  # fmt: skip
        setattr(ds, keyword, value)
    ds.ImageComments = "Synthetic image"
    ds.AcquisitionContextSequence = Sequence()
    organization = job.uid("dimensions")
    ds.DimensionOrganizationSequence = _sequence(DimensionOrganizationUID=organization)
    ds.DimensionIndexSequence = Sequence([
        _item(DimensionOrganizationUID=organization, DimensionIndexPointer=0x00209057,  # in-stack position number
              FunctionalGroupPointer=0x00209111),
        _item(DimensionOrganizationUID=organization, DimensionIndexPointer=0x00209128,  # temporal position index
              FunctionalGroupPointer=0x00209111),
    ])  # fmt: skip
    ds.SharedFunctionalGroupsSequence = Sequence([_shared(job)])
    # Frames run over slices within each phase, so that file order is not the order of a slice's own frames.
    order = [(t, k) for t in range(n) for k in range(n_slices)]
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(job, t, k) for t, k in order])
    ds.PixelData = b"".join(job.pixels(t, k) for t, k in order)


def _shared(job: _Job) -> Dataset:
    spacing = spacing_of(job.affine)
    frame_type = _item(
        FrameType=list(job.vendor.image_type),
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
        ComplexImageComponent="MAGNITUDE",
        AcquisitionContrast="UNKNOWN",
    )
    anatomy = _item(
        AnatomicRegionSequence=_sequence(CodeValue="80891009", CodingSchemeDesignator="SCT", CodeMeaning="Heart"),
        FrameLaterality="U",
    )
    return _item(
        PixelMeasuresSequence=_sequence(
            PixelSpacing=[float(spacing[1]), float(spacing[0])],
            SliceThickness=float(job.thickness_mm),
            SpacingBetweenSlices=float(job.slice_distance),
        ),
        PlaneOrientationSequence=_sequence(ImageOrientationPatient=_decimals(job.orientation())),
        FrameAnatomySequence=Sequence([anatomy]),
        MRImageFrameTypeSequence=Sequence([frame_type]),
        MRTimingAndRelatedParametersSequence=_sequence(
            RepetitionTime=3.2,
            FlipAngle=50.0,
            EchoTrainLength=1,
            RFEchoTrainLength=0,
            GradientEchoTrainLength=1,
        ),
        MREchoSequence=_sequence(EffectiveEchoTime=1.5),
        PixelValueTransformationSequence=_sequence(RescaleIntercept=0.0, RescaleSlope=1.0, RescaleType="US"),
    )


def _frame(job: _Job, t: int, k: int) -> Dataset:
    n = job.frames.shape[0]
    acquired = job.study_date + job.acquired(k)
    return _item(
        FrameContentSequence=_sequence(
            FrameAcquisitionNumber=1,
            FrameReferenceDateTime=acquired,
            FrameAcquisitionDateTime=acquired,
            FrameAcquisitionDuration=15000.0,
            CardiacCyclePosition="UNDETERMINED",
            StackID="1",
            InStackPositionNumber=k + 1,
            TemporalPositionIndex=t + 1,
            DimensionIndexValues=[k + 1, t + 1],
        ),
        PlanePositionSequence=_sequence(ImagePositionPatient=_decimals(job.position(k))),
        CardiacSynchronizationSequence=_sequence(
            NominalPercentageOfCardiacPhase=100.0 * t / n,
            NominalCardiacTriggerDelayTime=float(job.times[t] * job.rr[k]),
            ActualCardiacTriggerDelayTime=float(job.times[t] * job.rr[k]),
            RRIntervalTimeNominal=float(job.rr[k]),
            IntervalsAcquired=10,
            IntervalsRejected=0,
            HeartRate=round(60000 / job.rr[k]),
        ),
    )


def _decimals(values: list[float]) -> list[object]:
    from .dicom_cine import decimal

    return [decimal(x) for x in values]
