"""Perl's Net::SMPP as ESME; it knows no TLS."""

from __future__ import annotations

import shutil
from unittest import SkipTest

from tests.interop import base, scenarios
from tests.support import programs


class OverTcp(scenarios.Spoken):
    user = "perl"

    def command(self) -> list[str]:
        perl = shutil.which("perl")
        if perl is None:
            raise SkipTest("there is no perl here")
        modules = programs.debian("libnet-smpp-perl").root / "usr" / "share" / "perl5"
        return [perl, f"-I{modules}", str(base.PEERS / "esme.pl")]
