"""The templates of the report, as shipped inside the package."""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup


def text_of(name: str, package: str = __package__) -> str:
    """A file of the ``templates/`` of a package."""
    return resources.files(package).joinpath("templates", name).read_text(encoding="utf-8")


class _Shipped(BaseLoader):
    def __init__(self, package: str):
        self.package = package

    def get_source(self, environment: Environment, template: str) -> tuple[str, None, None]:
        try:
            return text_of(template, self.package), None, None
        except FileNotFoundError:
            raise TemplateNotFound(template) from None


@cache
def environment(package: str = __package__) -> Environment:
    """Jinja on the templates of a package, with autoescape on for everything.

    Only the own style and script of this package pass as they are.
    """
    env = Environment(
        loader=_Shipped(package), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.globals["own"] = lambda name: Markup(text_of(name))  # noqa: S704  # shipped with the package
    return env
