"""Cine DICOM whose voxels and geometry are known exactly, and a comparison in world space, for the DICOM tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from CardioPrecisionLib.phantom.dicom_cine import write_cine_dicom
from scipy.spatial.transform import Rotation

STYLES = ("siemens", "ge", "philips", "philips_enhanced")
T, NI, NJ, K = 12, 14, 10, 7
STEP = 9.0


def frames_of(t=T, k=K, dtype=np.uint16, seed=0):
    """Every voxel of every frame differs from its neighbours."""
    return np.random.default_rng(seed).integers(0, 4000, (t, NI, NJ, k)).astype(dtype)


def affine_of(rotation=None, flips=(1, 1, 1), spacing=(1.4, 1.7, STEP), origin=(12.0, -30.0, 55.0)):
    affine = np.eye(4)
    turn = Rotation.from_rotvec([0.5, -0.8, 0.4]).as_matrix() if rotation is None else rotation
    affine[:3, :3] = turn @ np.diag(np.array(flips) * spacing)
    affine[:3, 3] = origin
    return affine


def check_same_world(sequence, frames, affine, atol=1e-3):
    """Every voxel centre that was written has its value at the same point in space, in every frame."""
    assert sequence.n_frames == frames.shape[0]
    assert sorted(sequence.shape) == sorted(frames.shape[1:])
    index = np.stack(np.meshgrid(*map(np.arange, frames.shape[1:]), indexing="ij"), -1).reshape(-1, 3)
    world = index @ affine[:3, :3].T + affine[:3, 3]
    found = (world - sequence.affine[:3, 3]) @ np.linalg.inv(sequence.affine[:3, :3]).T
    rounded = np.rint(found).astype(int)
    assert np.abs((found - rounded) * sequence.spacing).max() < atol
    for t in range(frames.shape[0]):
        assert (sequence.frame(t)[tuple(rounded.T)] == frames[t][tuple(index.T)]).all()


def codes(findings, *severities):
    return {f.code for f in findings if not severities or f.severity in severities}


def write(folder, style="siemens", k=K, t=T, affine=None, seed=0, **more):
    affine = affine_of() if affine is None else affine
    frames = frames_of(t, k, seed=seed)
    files = write_cine_dicom(folder, frames, affine, style=style, seed=seed, **more)
    return files, frames, affine


def of_slice(files, k, t=T):
    """Classic files come slice by slice."""
    return files[k * t : (k + 1) * t]


def edit(path: Path, **values):
    ds = pydicom.dcmread(path)
    for keyword, value in values.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    if "SOPInstanceUID" in values:
        ds.file_meta.MediaStorageSOPInstanceUID = values["SOPInstanceUID"]
    ds.save_as(path)


def interpolated(frames, k):
    mended = frames.copy()
    mended[..., k] = np.rint((frames[..., k - 1].astype(float) + frames[..., k + 1]) / 2)
    return mended
