"""CardioPrecision in 3D Slicer: a thin shell without a user interface.

The home module: it carries CardioPrecisionLib, which the other modules use. It has no user interface yet.
"""

from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule


class CardioPrecision(ScriptedLoadableModule):
    """Registers the module and keeps it out of the menus."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("CardioPrecision")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Cardiac")]
        parent.dependencies = []
        parent.contributors = ["CardioPrecision developers"]
        parent.helpText = _("The common library of the CardioPrecision modules. It has no user interface yet.")
        parent.acknowledgementText = _("Developed by the CardioPrecision developers. For research, not for diagnosis.")
        # No CardioPrecisionWidget: Slicer then makes no widget representation by itself (Base/QTGUI/
        # qSlicerScriptedLoadableModule.cxx, setPythonSource); hidden keeps the module out of the menus as well.
        parent.widgetRepresentationCreationEnabled = False
        parent.hidden = True
