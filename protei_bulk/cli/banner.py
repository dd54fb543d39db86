"""What `bin/quickstart` prints when the gateway is ready, and where that gateway listens."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

from protei_bulk.settings import Settings

_ANY = ("", "0.0.0.0", "::")
_EXAMPLE = (
    '{"sender": "MyCompany", "message": "Hello from protei-bulk", "encoding": "GSM7", "recipients": '
    '[{"msisdn": "962788123456", "message": "Hello Ahmad!"}, {"msisdn": "962779234567"}]}'
)


def address(endpoint: str) -> tuple[str, int] | None:
    """Interface ("" or "::" for all) and port of a ``tcp:`` or ``tcp6:`` endpoint; None of any other kind."""
    kind, port, *options = re.split(r"(?<!\\):", endpoint)
    if kind not in ("tcp", "tcp6"):
        return None
    named = dict(o.split("=", 1) for o in options if "=" in o)
    host = named.get("interface", "" if kind == "tcp" else "::").replace("\\:", ":")
    return host, int(port.removeprefix("port="))


def base_url(settings: Settings) -> str | None:
    """Where this machine reaches the gateway by plain HTTP; None where it does not listen so."""
    for endpoint in settings.http.listen:
        found = address(endpoint)
        if found is not None and found[1]:
            host, port = found
            host = ("[::1]" if endpoint.startswith("tcp6") else "127.0.0.1") if host in _ANY else host
            return f"http://{f'[{host}]' if ':' in host and host[0] != '[' else host}:{port}"
    return None


def busy_ports(settings: Settings, *, simulator: bool) -> list[str]:
    """One line for each port that another program holds or that we may not take."""
    return list(_busy(settings, simulator))


def _busy(settings: Settings, simulator: bool) -> Iterator[str]:
    wanted = [
        (name, place)
        for name, listen in (
            ("smpp.listen", settings.smpp.listen),
            ("smpp.tls.listen", settings.smpp.tls.listen),
            ("http.listen", settings.http.listen),
            ("http.tls.listen", settings.http.tls.listen),
        )
        for place in map(address, listen)
        if place is not None
    ]
    if simulator:
        wanted += [("the SMSC simulator", ("127.0.0.1", settings.smsc[0].port))]
    for name, (host, port) in wanted:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen()
            except OSError as error:
                yield f"port {port} ({name}): {error.strerror}"


def _places(settings: Settings) -> list[str]:
    lines = []
    url = base_url(settings)
    if url is not None:
        lines.append(f"  Portal     {url}/")
        lines.append(f"  HTTP API   {url}/api/   ({url}/readyz, {url}/metrics)")
    lines += [f"  SMPP       {e}" for e in (*settings.smpp.listen, *settings.smpp.tls.listen)]
    lines.append(f"  State      {settings.node.state_dir}")
    return lines


def gateway_only(settings: Settings) -> str:
    """The banner of `--config FILE`."""
    return "\n".join(["", "protei-bulk is ready; Ctrl-C ends it.", *_places(settings), ""])


def banner(
    settings: Settings, demo_password: str, *, admin_password: str | None = None, api_key: str | None = None
) -> str:
    """The banner of the demo. The secrets of the first run are printed here and kept nowhere."""
    url = base_url(settings) or settings.http.public_url
    key = api_key or "<your API key>"
    bearer = f'-H "Authorization: Bearer {key}" -H "Content-Type: application/json"'
    lines = ["", "protei-bulk is ready; Ctrl-C ends it.", *_places(settings)]
    lines.append(f"  User       ahmad, password {demo_password}, sender MyCompany: in the portal, and as system_id of SMPP")
    if admin_password:
        lines.append(f"  Admin      admin, password {admin_password}   (shown only this once)")
    if api_key:
        lines.append(f"  API key    {api_key}   (of ahmad, shown only this once)")
    else:
        lines.append("  API key    lost it? bin/protei-bulk -c etc/quickstart.toml api-key new ahmad")
    lines += [
        "",
        "Send two messages:",
        "",
        f"curl -X POST {url}/api/sendBulk {bearer} \\",
        f"  -d '{_EXAMPLE}'",
        "",
        "Ask what became of them, with the campaign_id of the answer:",
        "",
        f"curl -X POST {url}/api/getDLR {bearer} \\",
        """  -d '{"campaign_id": "CAMP-...", "limit": 100}'""",
        "",
    ]
    return "\n".join(lines)
