"""The page: Vuetify widgets over the state of `viewer.Viewer`; nothing is decided here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trame.ui.vuetify3 import VAppLayout
from trame.widgets import client, html
from trame.widgets import vuetify3 as v
from trame_slicer.app.ui import SegmentEditorUI

if TYPE_CHECKING:
    from .viewer import Viewer

#: Sends a file as the body of a request, and tells the server its name once it is there.
_UPLOAD = """
window.cardioprecisionUpload = function (files, done, failed) {
  const file = files && (files[0] || files);
  if (!file || !file.name) return;
  fetch('/upload?name=' + encodeURIComponent(file.name), {method: 'POST', body: file})
    .then(answer => answer.json())
    .then(answer => answer.error ? failed(answer.error) : done(answer.name))
    .catch(() => failed('The upload was refused or interrupted.'));
};
"""
_STYLE = """
html { overflow-y: auto; }
.cp-grid { display: flex; height: 100%; }
.cp-views { height: calc(100vh - 112px); min-height: 420px; }
.cp-report { width: 100%; height: calc(100vh - 118px); border: 0; background: white; }
#download { color: inherit; text-decoration: none; }
.cp-rows { font-size: 0.82rem; }
.cp-rows td { padding: 2px 8px !important; height: auto !important; }
.cp-number { font-size: 1.25rem; font-weight: 600; }
"""


class Page:
    """See the module."""

    def __init__(self, viewer: Viewer):
        self.viewer = viewer
        self.segment_editor: Any = None
        with VAppLayout(viewer.server, theme=("dark ? 'dark' : 'light'",)) as self.layout:
            client.Style(_STYLE)
            client.Script(_UPLOAD)
            # As the reader's system has it; the button in the bar changes it.
            client.ClientTriggers(mounted="dark = window.matchMedia('(prefers-color-scheme: dark)').matches")
            self._bar()
            self._drawer()
            with v.VMain():
                with v.VTabs(v_model=("tab",), density="compact"):
                    v.VTab("Images", value="images")
                    v.VTab("Report", value="report", disabled=("!run_id",))
                    v.VTab("Risk and plan", value="risk")
                with html.Div(v_show="tab === 'images'", classes="cp-views"), html.Div(classes="cp-grid"):
                    viewer.layouts.initialize_layout_grid(self.layout)
                html.Iframe(
                    v_if="tab === 'report' && run_id", src=("'/report/' + run_id",), classes="cp-report", title="Report"
                )
                with html.Div(v_show="tab === 'risk'", classes="pa-4"):
                    self._risk()
            self._licence()

    def _bar(self) -> None:
        with v.VAppBar(density="compact", border=True):
            v.VAppBarNavIcon(click="drawer = !drawer", id="panel")
            v.VToolbarTitle("CardioPrecision")
            html.Span("{{ opened }}", classes="text-caption mr-4 d-none d-sm-inline")
            v.VBtn(
                icon=("dark ? 'mdi-white-balance-sunny' : 'mdi-weather-night'",),
                click="dark = !dark",
                id="theme",
            )

    def _drawer(self) -> None:
        viewer = self.viewer
        with v.VNavigationDrawer(v_model=("drawer",), width=370), html.Div(classes="pa-3"):
            v.VSelect(
                label="What it is",
                v_model=("role",),
                items=("roles",),
                density="compact",
                hide_details=True,
                disabled=("running || busy",),
                classes="mb-2",
            )
            v.VBtn(
                "Open the synthetic patient",
                click=viewer.open_sample,
                block=True,
                variant="tonal",
                loading=("busy",),
                disabled=("running",),
                id="open-sample",
            )
            with html.Div(classes="d-flex align-center mt-2"):
                v.VSelect(
                    label="Study",
                    v_model=("source",),
                    items=("sources",),
                    density="compact",
                    hide_details=True,
                    no_data_text="Nothing was uploaded yet",
                    classes="flex-grow-1 mr-2",
                )
                v.VBtn("Open", click=viewer.open_source, disabled=("!source || running || busy",), variant="tonal")
            v.VFileInput(
                label="Upload: NIfTI, NRRD, or DICOM as zip",
                density="compact",
                hide_details=True,
                classes="mt-2",
                update_modelValue=(
                    "window.cardioprecisionUpload($event, "
                    "name => trigger('uploaded', [name]), text => trigger('upload_failed', [text]))"
                ),
            )
            v.VDivider(classes="my-3")
            v.VBtn(
                "{{ running ? 'Cancel' : 'Run the analysis' }}",
                click=viewer.run,
                block=True,
                color=("running ? 'warning' : opened && !busy ? 'primary' : undefined",),
                disabled=("!opened || busy",),
                id="run",
            )
            v.VProgressLinear(v_show="running", model_value=("percent",), height=6, classes="mt-2")
            html.Div("{{ message }}", classes="text-body-2 my-2", style=("bad ? 'color: #c0392b' : ''",), id="message")
            with html.Div(v_if="frames > 1", classes="d-flex align-center"):
                v.VSlider(
                    v_model=("frame",), min=1, max=("frames",), step=1, hide_details=True, label="Frame", id="frame"
                )
                html.Span("{{ frame }} / {{ frames }}", classes="text-caption ml-2")
            with html.Div(v_if="run_id"):
                html.Div("{{ headline }}", classes="cp-number", id="headline")
                with html.Div(classes="d-flex flex-wrap ga-1 my-2"):
                    v.VBtn("End-diastole", v_if="key_frames.ed", click=(viewer.go_to, "['ed']"), size="small")
                    v.VBtn("End-systole", v_if="key_frames.es", click=(viewer.go_to, "['es']"), size="small")
                    html.A(  # with this attribute the page is not left for it
                        "Download",
                        href=("'/download/' + run_id + '.zip'",),
                        download="",
                        classes="v-btn v-btn--elevated v-btn--size-small v-btn--density-default",
                        id="download",
                    )
                    v.VBtn("Remove", click=viewer.remove, size="small")
                v.VAlert(
                    v_for="(text, n) in warnings", key="n", text=("text",), type="warning", density="compact",
                    variant="tonal", classes="mb-1 text-caption",
                )  # fmt: skip
                with v.VTable(density="compact", classes="cp-rows", height=240, fixed_header=True, id="rows"):
                    with html.Thead(), html.Tr():
                        html.Th("Measurement")
                        html.Th("Value")
                    with html.Tbody(), html.Tr(v_for="row in rows", key="row.title", title=("row.why",)):
                        html.Td("{{ row.title }}")
                        html.Td("{{ row.state === 'measured' ? row.value : row.state }}")
                v.VSwitch(
                    v_model=("editing",), label="Correct the segmentation", density="compact", hide_details=True,
                    color="primary", id="editing",
                )  # fmt: skip
                v.VBtn(
                    "Measure again", click=viewer.measure_again, disabled=("running",), block=True, variant="tonal",
                    id="again",
                )  # fmt: skip
            with html.Div(v_show="editing && run_id", style="height: 560px;"):
                self.segment_editor = SegmentEditorUI()
            html.Div("For research use, not for clinical decisions.", classes="text-caption mt-4")

        @viewer.server.trigger("uploaded")
        def uploaded(name: str) -> None:
            viewer.refresh_sources(name)
            viewer.say(f"{name} was uploaded.")

        @viewer.server.trigger("upload_failed")
        def failed(text: str) -> None:
            viewer.say(text, bad=True)

    def _licence(self) -> None:
        viewer = self.viewer
        with (
            v.VDialog(model_value=("!!licence",), persistent=True, max_width=520),
            v.VCard(title="Licence of the model"),
        ):
            v.VCardText(
                "The weights of {{ licence }} are licensed {{ licence_name }}, which restricts their use. "
                "Do you accept this licence? It is remembered."
            )
            with v.VCardActions():
                v.VSpacer()
                v.VBtn("Decline", click=viewer.decline_licence)
                v.VBtn("Accept", click=viewer.accept_licence, color="primary", id="accept")

    def _risk(self) -> None:
        risk = self.viewer.risk
        with html.Div(classes="d-flex flex-wrap ga-2 mb-3"):
            v.VBtn("Fill in the synthetic patient", click=risk.fill_sample, variant="tonal", id="fill-sample")
            v.VBtn("Compute scores and plan", click=risk.run, color="primary", disabled=("running",), id="run-risk")
        with v.VRow():
            with v.VCol(cols=12, md=6), v.VExpansionPanels(multiple=True, model_value=([0, 1, 2],)):
                for group in risk.groups:
                    with v.VExpansionPanel(title=group["title"]), v.VExpansionPanelText():
                        for item in group["fields"]:
                            self._field(item)
            with v.VCol(cols=12, md=6), html.Div(v_if="plan.length || scores.length"):
                html.Div("What guidelines say", classes="text-h6")
                html.Div("{{ plan_counts }}", classes="text-body-2 mb-2", id="plan-counts")
                with v.VCard(v_for="(row, n) in plan", key="n", classes="mb-2", variant="outlined"):
                    v.VCardText("{{ row.text }}", classes="plan-row")
                    v.VCardText(
                        "{{ row.guideline }} {{ row.edition }} · {{ row.strength }}", classes="pt-0 text-caption"
                    )
                html.Div("Scores", classes="text-h6 mt-4")
                with (
                    v.VTable(density="compact", classes="cp-rows", id="scores"),
                    html.Tbody(),
                    html.Tr(v_for="row in scores", key="row.title", title=("row.why",)),
                ):
                    html.Td("{{ row.title }}")
                    html.Td("{{ row.value }}")

    def _field(self, item: dict[str, Any]) -> None:
        name = item["name"]
        common = {
            "label": item["title"],
            "v_model": (f"value_{name}",),
            "density": "compact",
            "error_messages": (f"problem_{name} || []",),
            "hint": item.get("help") or "",
            "hide_details": "auto",
            "clearable": True,
        }
        with html.Div(classes="d-flex align-start mb-2"):
            if item["widget"] in ("choice", "tristate"):
                given = item.get("choices") or [{"value": "yes", "title": "Yes"}, {"value": "no", "title": "No"}]
                v.VSelect(items=([{"value": "unknown", "title": "Unknown"}, *given],), id=f"field-{name}", **common)
            else:
                units = item.get("units") or []
                suffix = item.get("unit_title", "") if len(units) < 2 else ""
                v.VTextField(suffix=suffix, id=f"field-{name}", **common)
                if len(units) > 1:
                    named = [{"value": u, "title": item["unit_title"] if u == item["unit"] else u} for u in units]
                    v.VSelect(
                        v_model=(f"unit_{name}",), items=(named,), density="compact", hide_details=True,
                        style="max-width: 120px;", classes="ml-2",
                    )  # fmt: skip
