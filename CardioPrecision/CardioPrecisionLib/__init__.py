"""CardioPrecision: the ground that all modules stand on.

Importing this package is cheap: it loads nothing heavy, runs nothing, installs nothing and touches no network.
"""

__version__ = "0.1.0"
