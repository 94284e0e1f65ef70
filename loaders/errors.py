"""Errors, divided by what an orchestrator should do about them."""

from collections.abc import Mapping
from typing import Any


class LoaderError(Exception):
    """A failure; its text is a sentence for a person."""


class TransientError(LoaderError):
    """Trying the same step again may help: a network fault, a busy service."""


class TerminalError(LoaderError):
    """Trying the same step again will not help: a person has to look."""


class DeliveryRefused(TerminalError):
    """The whole delivery is refused; the data that it would have replaced stay.

    `summary` is what was found, as `LoadResult.summary` has it; empty where nothing was counted.
    """

    summary: Mapping[str, Any] = {}
