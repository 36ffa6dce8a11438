"""Errors that a user can act on. Every front turns them into one line and an exit code."""

from __future__ import annotations


class CardioPrecisionError(Exception):
    """Base of all errors that carry a message for the user."""

    exit_code = 1


class InputError(CardioPrecisionError):
    """The input or the usage is wrong. The message says what, where and what to do."""

    exit_code = 2


class NothingAssessable(CardioPrecisionError):
    """The run was valid but no number could be stood behind."""

    exit_code = 3


class Cancelled(CardioPrecisionError):
    """The user asked to stop."""

    exit_code = 130

    def __init__(self, message: str = "Cancelled. Nothing was written."):
        super().__init__(message)
