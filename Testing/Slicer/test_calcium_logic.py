"""Runs inside a real Slicer:

    Slicer --no-splash --testing --python-script Testing/Slicer/test_calcium_logic.py

Slicer must know the modules: the installed extension, or ``--additional-module-paths CardioPrecision CoronaryPlaque``.
Ends with exit code 0 when the scores of the phantom's voxels come back node to node, else 1.
"""

import traceback
import unittest

import slicer


def check() -> int:
    """Load the module through Slicer's factory and run its test; the exit code."""
    if not hasattr(slicer.modules, "coronaryplaque"):
        print("CoronaryPlaque is not among Slicer's modules; give its folder with --additional-module-paths.")
        return 1
    import CoronaryPlaque

    suite = unittest.defaultTestLoader.loadTestsFromTestCase(CoronaryPlaque.CoronaryPlaqueTest)
    return 0 if unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful() else 1


try:
    code = check()
except Exception:
    traceback.print_exc()
    code = 1
slicer.util.exit(code)
