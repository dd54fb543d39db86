"""The files of etc/, missing and broken files, and where relative paths count from."""

from __future__ import annotations

from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.settings import (
    Http,
    Match,
    Node,
    Route,
    Settings,
    SettingsError,
    Smpp,
    Smsc,
    Texts,
    load,
    parse,
)

ETC = Path(__file__).parents[2] / "etc"


class Shipped(SynchronousTestCase):
    """The files that come with the project."""

    def test_reference_holds_the_defaults(self) -> None:
        """Whoever leaves a key out gets what the commented reference shows."""
        settings = load(ETC / "protei-bulk.toml")
        self.assertEqual(attrs.evolve(settings, smsc=(), route=()), Settings())
        smsc, route = settings.smsc[0], settings.route[0]
        self.assertEqual(smsc, Smsc("SMSC1", "smsc.example.net", 2775, "gateway", "secret"))
        self.assertEqual(route, Route("everything", ("SMSC1",)))

    def test_reference_shows_every_key(self) -> None:
        text = (ETC / "protei-bulk.toml").read_text()

        def keys(cls: type) -> list[str]:
            return [a.name for a in attrs.fields(cls)]  # type: ignore[arg-type]

        for cls in (Node, Smpp, Http, Texts, Smsc, Route, Match):
            for key in keys(cls):
                self.assertRegex(text, rf"(?m)^#?({key} = |\[.*\b{key}\])", f"{cls.__name__}.{key}")

    def test_commented_examples_are_right(self) -> None:
        """What is commented out in the reference is accepted when somebody removes the #."""
        lines = (ETC / "protei-bulk.toml").read_text().splitlines()
        text = "\n".join(x[1:] if x[:1] == "#" and x[1:2].isalpha() or x[:2] == "#[" else x for x in lines)
        match = parse(text).route[0].match
        self.assertEqual(match.prefix, ("96278", "96279"))
        self.assertEqual(match.time, "08:00-20:00 Asia/Amman")

    def test_quickstart(self) -> None:
        settings = load(ETC / "quickstart.toml")
        self.assertEqual(settings.node.state_dir, ETC.parent / "var")
        self.assertEqual(settings.smpp.listen, ("tcp:2775:interface=127.0.0.1",))
        self.assertEqual(settings.http.listen, ("tcp:8080:interface=127.0.0.1",))
        self.assertEqual([(s.id, s.host, s.port) for s in settings.smsc], [("SMSC1", "127.0.0.1", 2776)])
        self.assertEqual([(r.to, r.match) for r in settings.route], [(("SMSC1",), Match())])


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()

    def problems(self, path: Path) -> list[str]:
        return self.assertRaises(SettingsError, load, path).problems  # type: ignore[no-any-return]

    def test_missing(self) -> None:
        path = self.folder / "none.toml"
        error = self.assertRaises(SettingsError, load, path)
        self.assertEqual(error.problems, ["no such file"])
        self.assertIn(str(path), str(error))

    def test_folder(self) -> None:
        self.assertEqual(self.problems(self.folder), ["cannot be read: Is a directory"])

    def test_not_utf8(self) -> None:
        path = self.folder / "x.toml"
        path.write_bytes(b'[node]\nname = "\xff"')
        self.assertEqual(self.problems(path), ["not UTF-8 text (octet 15)"])

    def test_syntax(self) -> None:
        path = self.folder / "x.toml"
        path.write_text("[smpp\nwindow = 3")
        (problem,) = self.problems(path)
        self.assertRegex(problem, r"^not valid TOML: .*line 1")

    def test_relative_paths(self) -> None:
        """They count from the file's folder, from the one above etc, never from the working directory."""
        text = '[node]\nstate_dir = "var/"'
        for name, expected in (("x.toml", "var"), ("etc/x.toml", "var"), ("conf/x.toml", "conf/var")):
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
            self.assertEqual(load(path).node.state_dir, self.folder / expected)

    def test_symlink(self) -> None:
        """A link in /etc to a file elsewhere means the file's own folder."""
        (self.folder / "real").mkdir()
        (self.folder / "real/x.toml").write_text('[node]\nstate_dir = "var"')
        (self.folder / "link.toml").symlink_to(self.folder / "real/x.toml")
        self.assertEqual(load(self.folder / "link.toml").node.state_dir, self.folder / "real/var")


class Values(SynchronousTestCase):
    def test_empty(self) -> None:
        self.assertEqual(parse(""), Settings())

    def test_every_kind(self) -> None:
        settings = parse(
            """
            [node]
            name = "gw-1.example"
            state_dir = "/srv/x"
            [database]
            dsn = "host=db"
            [smpp]
            enquire_link_interval = 5
            inactivity_timeout = 7.5
            [smpp.tls]
            listen = ["tcp:3550"]
            certificate = "/c.pem"
            private_key = "/k.pem"
            [http]
            listen = "tcp6:80"
            public_url = "https://bulk.example.com/"
            trusted_proxies = ["10.1.2.3/8", "::1"]
            [[smsc]]
            id = "A"
            host = "h"
            port = 1
            [[route]]
            name = "r"
            to = "A"
            price = 0.0251
            match = { prefix = "962", channel = "SMPP", sender = ["x*"] }
            """
        )
        self.assertEqual(settings.node, Node("gw-1.example", Path("/srv/x")))
        self.assertEqual(settings.smpp.enquire_link_interval, 5.0)
        self.assertIsInstance(settings.smpp.enquire_link_interval, float)
        self.assertEqual(settings.smpp.inactivity_timeout, 7.5)
        self.assertEqual(settings.smpp.tls.certificate, Path("/c.pem"))
        self.assertEqual(settings.http.listen, ("tcp6:80",))
        self.assertEqual(settings.http.public_url, "https://bulk.example.com")
        self.assertEqual(settings.http.trusted_proxies, (ip_network("10.0.0.0/8"), ip_network("::1")))
        self.assertEqual(settings.route[0].price, Decimal("0.0251"), "exact, not a binary fraction")
        self.assertEqual(settings.route[0].to, ("A",))
        self.assertEqual(settings.route[0].match, Match(prefix=("962",), channel=("SMPP",), sender=("x*",)))

    def test_frozen_and_discreet(self) -> None:
        settings = parse(
            '[database]\ndsn = "password=hush"\n[[smsc]]\nid="A"\nhost="h"\nport=1\npassword="hush"'
        )
        self.assertNotIn("hush", repr(settings))
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, settings.smpp, "window", 1)
