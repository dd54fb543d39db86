"""A gateway daemon for bulk SMS: one account and one pipeline for SMPP, HTTP and the portal."""

from __future__ import annotations

__version__ = "0.1.0"
