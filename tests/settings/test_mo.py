from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.settings import Inbound, MoMatch, MoRule, MoTarget, SettingsError, parse


class MoSettings(SynchronousTestCase):
    def problems(self, text: str) -> list[str]:
        return self.assertRaises(SettingsError, parse, text).problems  # type: ignore[no-any-return]

    def test_rules(self) -> None:
        s = parse(
            '[inbound]\nreassembly_seconds = 20\n[[mo]]\nname = "a"\nmatch = {dest = ["123*"], keyword = "STOP", smsc = ["A"]}\n'
            'to = {user = "x", url = "https://a.example:80/x?y=1"}\n[[mo]]\nname = "b"\norder = 1\nto = {url = "http://a.example"}'
        )
        self.assertEqual(s.inbound, Inbound(20.0))
        self.assertEqual(
            s.mo,
            (MoRule("a", MoTarget("x", "https://a.example:80/x?y=1"), 100, MoMatch(("A",), ("123*",), (), ("STOP",))),
             MoRule("b", MoTarget("", "http://a.example"), 1)),
        )  # fmt: skip

    def test_mistakes(self) -> None:
        self.assertEqual(
            self.problems('[inbound]\nreassembly_seconds = 0\n[[mo]]\nname = "a"\nto = {usr = "x"}\nmatch = {keyword = ["a b", ""]}'),
            ["inbound.reassembly_seconds: expected a number from 1 to 86400, got 0",
             'mo.1.to.usr: unknown key (did you mean "user"?)',
             'mo.1.match.keyword.1: expected a single word of at most 64 characters, got "a b"',
             'mo.1.match.keyword.2: expected a single word of at most 64 characters, got ""'],
        )  # fmt: skip

    def test_to_nobody(self) -> None:
        self.assertEqual(self.problems('[[mo]]\nname = "a"\nto = {}'), ["mo.1.to: expected a user, a url, or both"])
        self.assertEqual(self.problems('[[mo]]\nname = "a"'), ["mo.1.to: missing"])

    def test_a_name_twice(self) -> None:
        rule = '[[mo]]\nname = "a"\nto = {user = "x"}\n'
        self.assertEqual(self.problems(rule * 2), ['mo.2.name: "a" is already mo.1'])

    def test_addresses(self) -> None:
        for url in ("ftp://x", "http://", "http:///x", "http://a b", "http://a/#x", "http://ü.example", "x", "http://a/" + "x" * 500):
            (problem,) = self.problems(f'[[mo]]\nname = "a"\nto = {{url = "{url}"}}')
            self.assertTrue(problem.startswith("mo.1.to.url: expected an address such as"), problem)
