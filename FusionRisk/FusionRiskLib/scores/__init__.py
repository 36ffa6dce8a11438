"""Published risk scores on columns of clinical values."""

from .columns import Columns
from .registry import families, scores, select
from .score import Score, Scored

__all__ = ["Columns", "Score", "Scored", "families", "scores", "select"]
