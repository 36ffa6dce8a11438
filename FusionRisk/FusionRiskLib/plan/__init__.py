"""Statements of published guidelines that follow from a patient's facts; the rules are data (``rules/*.yaml``)."""

from .engine import Statement, make_plan
from .facts import Fact, record_facts, score_facts
from .rulebook import Rule, rules, topics

__all__ = ["Fact", "Rule", "Statement", "make_plan", "record_facts", "rules", "score_facts", "topics"]
