"""What the store says of a batch that it cannot take."""

from __future__ import annotations


class Unstorable(Exception):
    """The database answered, nothing of the batch is stored, and the same rows would be refused again: one of them is at fault.

    The text names no value: what a row holds does not belong in a log.
    """
