"""The templates of the report, as shipped inside the package."""

from __future__ import annotations

from functools import cache
from importlib import resources

from jinja2 import BaseLoader, Environment, StrictUndefined, TemplateNotFound
from markupsafe import Markup


def text_of(name: str) -> str:
    """A file of ``templates/``."""
    return resources.files(__package__).joinpath("templates", name).read_text(encoding="utf-8")


class _Shipped(BaseLoader):
    def get_source(self, environment: Environment, template: str) -> tuple[str, None, None]:
        try:
            return text_of(template), None, None
        except FileNotFoundError:
            raise TemplateNotFound(template) from None


@cache
def environment() -> Environment:
    """Jinja with autoescape on for everything; only this package's own style and script pass as they are."""
    env = Environment(
        loader=_Shipped(), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    env.globals["own"] = lambda name: Markup(text_of(name))  # noqa: S704  # shipped with the package
    return env
