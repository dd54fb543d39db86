"""Time-based one-time passwords (RFC 6238), as Google Authenticator and Authy show them."""

from __future__ import annotations

import base64
import hmac
from io import BytesIO

import pyotp
import segno
from attrs import field, frozen

STEP_SECONDS = 30
SECRET_OCTETS = 20
ISSUER = "Protei_Bulk"


@frozen
class TwoFactorSetup:
    """What a user gets to see once: `secret` in base 32, `uri` as the QR code holds it."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)

    @property
    def qr_svg(self) -> str:
        """The QR code of the uri, as an SVG document: black on white, whatever the page is."""
        out = BytesIO()
        code = segno.make(self.uri, error="m", micro=False)
        code.save(out, kind="svg", xmldecl=False, omitsize=True, light="#fff", nl=False)
        return out.getvalue().decode()


def setup_of(secret: bytes, username: str) -> TwoFactorSetup:
    text = base64.b32encode(secret).decode()
    uri = pyotp.TOTP(text).provisioning_uri(name=username, issuer_name=ISSUER)
    return TwoFactorSetup(text, uri)


def matching_step(secret: bytes, code: str, now: float) -> int | None:
    """The step whose code this is: the present one or a neighbour, since clocks differ. None: wrong."""
    digits = code.replace(" ", "").encode("utf-8", "replace")
    totp = pyotp.TOTP(base64.b32encode(secret).decode())
    present = int(now) // STEP_SECONDS
    found = None
    for step in (present - 1, present, present + 1):
        if step >= 0 and hmac.compare_digest(totp.generate_otp(step).encode(), digits):
            found = step
    return found
