"""Runs a module's self-tests inside Slicer and ends it with the exit code; no test of its own."""

import importlib
import traceback
import unittest

import slicer


def run_module_tests(name: str) -> None:
    """Run ``<name>Test`` of a module that Slicer has loaded; ends the application, 0 only when all passed."""
    code = 1
    try:
        if not hasattr(slicer.modules, name.lower()):
            print(f"{name} is not among Slicer's modules; give its folder with --additional-module-paths.")
        else:
            case = getattr(importlib.import_module(name), f"{name}Test")
            suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
            outcome = unittest.TextTestRunner(verbosity=2).run(suite)
            for test, reason in outcome.skipped:
                print(f"skipped: {test.id()}: {reason}")
            print(
                f"{outcome.testsRun} run, {len(outcome.skipped)} skipped, "
                f"{len(outcome.failures) + len(outcome.errors)} failed"
            )
            code = 0 if outcome.wasSuccessful() and outcome.testsRun > len(outcome.skipped) else 1
    except Exception:
        traceback.print_exc()
    slicer.util.exit(code)
