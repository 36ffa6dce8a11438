"""MONAI bundles: registry, licence, guard, safe loading, and the inference engine.

Nothing is imported here: `registry` and `licence` are cheap, `engine` loads torch when it is imported.
"""
