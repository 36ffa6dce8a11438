"""Generated bundles and images for the tests of embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tiny_bundle
import torch
from CardioPrecisionLib.bundle.registry import Bundle
from CardioPrecisionLib.image import Sequence

#: Direction of the axes of a stack that needs no turning: to the patient's left, to the back, to the feet.
IN_ORDER = np.diag([-1.4, -1.4, -8.0, 1.0])
BOTTOM = "model.1"


def unet(root: Path, dims: int = 2, *, settings=None, found: bool = True, pointwise: bool = False, **more) -> Bundle:
    """A bundle of a small U-Net with random weights, whose 12 channels at the bottom (8 and the skip) are the deepest.

    `found` makes all of the image heart (or nothing); `pointwise` makes every feature hang on a single voxel.
    """
    channels = 3 if dims == 2 else 1
    definition = {
        "_target_": "UNet",
        "spatial_dims": dims,
        "in_channels": channels,
        "out_channels": 4,
        "channels": [4, 8],
        "strides": [1 if pointwise else 2],
        "num_res_units": 0,
        "norm": "BATCH",
    }
    if pointwise:
        definition |= {"kernel_size": 1, "up_kernel_size": 1}
    from monai.networks.nets import UNet

    arguments = {key: value for key, value in definition.items() if key != "_target_"}
    with torch.random.fork_rng():
        torch.manual_seed(7)
        weights = UNet(**arguments).state_dict()
    weights["model.2.conv.bias"][1 if found else 0] = 1000.0
    own = {} if dims == 2 else {"channels": 1, "multiple": 4, "spacing_mm": 2.0, "intensity_range": [0, 1], "guard": {}}
    return tiny_bundle.make(root, {"net": weights}, definition=definition, settings={**own, **(settings or {})}, **more)


def stack(shape=(64, 80, 5), frames: int = 1, seed: int = 0, affine=IN_ORDER) -> Sequence:
    """Random slices."""
    array = np.random.default_rng(seed).uniform(0, 1000, (frames, *shape)).astype(np.float32)
    return Sequence.from_array(array, affine)
