"""Coronary Plaque in 3D Slicer: a thin shell without a user interface.

There is no analysis in this module yet. It is registered so that its name is taken, and hidden.
"""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class CoronaryPlaque(ScriptedLoadableModule):
    """Registers the module and keeps it out of the menus."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Coronary Plaque")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = []
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _("There is no analysis in this module yet.")
        parent.acknowledgementText = _("Developed by the CardioPrecision developers. For research, not for diagnosis.")
        # No CoronaryPlaqueWidget: Slicer then makes no widget representation by itself (Base/QTGUI/
        # qSlicerScriptedLoadableModule.cxx, setPythonSource); hidden keeps the module out of the menus as well.
        parent.widgetRepresentationCreationEnabled = False
        parent.hidden = True
