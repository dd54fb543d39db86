"""Typed configuration from etc/: what it may hold is in schema.py, how it is read in reader.py."""

from __future__ import annotations

from protei_bulk.settings.guards import Guards, VelocityGuard
from protei_bulk.settings.loader import SettingsError, load, parse
from protei_bulk.settings.mo import Inbound, MoMatch, MoRule, MoTarget
from protei_bulk.settings.routing import Rate, Routing
from protei_bulk.settings.schema import (
    Access,
    Callbacks,
    DatabaseSettings,
    Http,
    HttpLimits,
    HttpTls,
    Match,
    Node,
    Retention,
    Rewrite,
    Route,
    Settings,
    Smpp,
    SmppTls,
    Smsc,
    Texts,
)
from protei_bulk.settings.uploads import Uploads

__all__ = [
    "Access",
    "Callbacks",
    "DatabaseSettings",
    "Guards",
    "Http",
    "HttpLimits",
    "HttpTls",
    "Inbound",
    "Match",
    "MoMatch",
    "MoRule",
    "MoTarget",
    "Node",
    "Rate",
    "Retention",
    "Rewrite",
    "Route",
    "Routing",
    "Settings",
    "SettingsError",
    "Smpp",
    "SmppTls",
    "Smsc",
    "Texts",
    "Uploads",
    "VelocityGuard",
    "load",
    "parse",
]
