"""Numbers of the phantom, key frames, correction, cancel, scene through a file, reload. Runs inside a real Slicer:

    Slicer --testing --no-splash --no-main-window --python-script Testing/Slicer/test_lv_function.py \\
        --additional-module-paths CardioPrecision LVFunction CoronaryPlaque FusionRisk

(with the extension installed, without the paths). Exit code 0 when every test passed; a test that needs what is not
installed is skipped and says so.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from slicer_run import run_module_tests

run_module_tests("LVFunction")
