"""Every mistake is named with its path, all at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.settings import Settings, SettingsError, parse

SMSC = '[[smsc]]\nid = "A"\nhost = "h"\nport = 2775\n'
ROUTE = SMSC + '[[route]]\nname = "r"\nto = ["A"]\n'


class Problems(SynchronousTestCase):
    def check(self, text: str, *expected: str) -> None:
        self.assertEqual(self.assertRaises(SettingsError, parse, text).problems, list(expected))

    def test_wrong_type(self) -> None:
        self.check(SMSC + 'window = "x"', 'smsc.1.window: expected a whole number from 1, got "x"')

    def test_second_entry_counts_from_one(self) -> None:
        self.check(
            SMSC + '[[smsc]]\nid = "B"\nhost = "h"\nport = 1\nwindow = 0',
            "smsc.2.window: expected a whole number from 1, got 0",
        )

    def test_whole_numbers(self) -> None:
        for value, shown in (
            ("1.0", "1.0"),
            ("true", "true"),
            ("-1", "-1"),
            ("[]", "a list"),
            ("{}", "a table"),
            ("2020-01-01", "2020-01-01"),
        ):
            self.check(
                f"[smpp]\nwindow = {value}", f"smpp.window: expected a whole number from 1, got {shown}"
            )

    def test_numbers(self) -> None:
        for value, shown in (
            ("nan", "NaN"),
            ("inf", "Infinity"),
            ("-0.5", "-0.5"),
            ('"5"', '"5"'),
            ("1e999999", "1E+999999"),
        ):
            self.check(
                f"[smpp]\ninactivity_timeout = {value}",
                f"smpp.inactivity_timeout: expected a number from 0 to 86400, got {shown}",
            )

    def test_ranges(self) -> None:
        self.check(
            SMSC.replace("2775", "65536"), "smsc.1.port: expected a whole number from 1 to 65535, got 65536"
        )
        self.check(
            "[callbacks]\ntimeout = 0", "callbacks.timeout: expected a number from 0.1 to 86400, got 0"
        )

    def test_flags_choices_texts(self) -> None:
        self.check(
            SMSC + 'tls = "yes"\nbind = "both"\nsystem_type = "thirteen-long"\nsystem_id = "é"',
            'smsc.1.system_id: expected text in ASCII, got "é"',
            'smsc.1.system_type: expected text of at most 12 characters, got "thirteen-long"',
            'smsc.1.tls: expected true or false, got "yes"',
            'smsc.1.bind: expected one of "transceiver", "transmitter", "receiver", got "both"',
        )
        self.check(
            '[node]\nname = "a b"',
            "node.name: expected a name of letters, digits, '.', '_' and '-', at most 64, got \"a b\"",
        )
        self.check('[node]\nstate_dir = ""', 'node.state_dir: expected a path in quotes, got ""')

    def test_special_texts(self) -> None:
        self.check(
            '[http]\nlisten = ["tcp:8080", "8080", "tcp:70000", "tcp:x"]\n'
            'public_url = "bulk"\ntrusted_proxies = ["10"]',
            *(
                f'http.listen.{n}: expected an endpoint such as "tcp:2775:interface=127.0.0.1", got "{v}"'
                for n, v in ((2, "8080"), (3, "tcp:70000"), (4, "tcp:x"))
            ),
            'http.public_url: expected an address such as "https://bulk.example.com", got "bulk"',
            'http.trusted_proxies.1: expected an IP address or a network such as "10.0.0.0/8", got "10"',
        )

    def test_match(self) -> None:
        self.check(
            ROUTE + 'match = {prefix = ["+962"], channel = "FAX", pattern = "(", time = "8-20"}',
            'route.1.match.prefix.1: expected digits in quotes such as "96278", got "+962"',
            'route.1.match.channel.1: expected one of "SMPP", "HTTP_API", "WEB", "SCHEDULER", got "FAX"',
            "route.1.match.pattern: expected a regular expression (missing ), unterminated subpattern"
            ' at position 0), got "("',
            'route.1.match.time: expected hours such as "08:00-20:00" or "08:00-20:00 Asia/Amman",'
            ' got "8-20"',
        )
        for time in ("08:00-20:00", "22:00-06:00 Asia/Amman"):
            self.assertEqual(parse(ROUTE + f'match = {{time = "{time}"}}').route[0].match.time, time)
        for time in ("08:00-20:00 Mars/Base", "08:00-20:00 ../x", "08:00-24:00", "08:00-20:00 "):
            self.assertRaises(SettingsError, parse, ROUTE + f'match = {{time = "{time}"}}')

    def test_money(self) -> None:
        for value in ("-1", "0.0000001", "inf", "nan", '"much"', "true", "1e20"):
            error = self.assertRaises(SettingsError, parse, ROUTE + f"price = {value}")
            self.assertIn("route.1.price: expected an amount of money", error.problems[0])
        for value in ("0.025", '"0.025"', "0.0250000000"):
            self.assertEqual(str(parse(ROUTE + f"price = {value}").route[0].price.normalize()), "0.025")

    def test_secrets_are_not_repeated(self) -> None:
        error = self.assertRaises(
            SettingsError, parse, SMSC + 'password = "hush\\u00e9"\n[database]\ndsn = 5'
        )
        self.assertEqual(
            error.problems,
            ["database.dsn: expected text in quotes", "smsc.1.password: expected text in ASCII"],
        )

    def test_unknown_keys(self) -> None:
        self.check(
            "[smpp]\nwindw = 5\n[htpp]\n[zebra]\n[http.limits]\nper-ip-per-hour = 1\n",
            'htpp: unknown key (did you mean "http"?)',
            "zebra: unknown key",
            'smpp.windw: unknown key (did you mean "window"?)',
            'http.limits.per-ip-per-hour: unknown key (did you mean "per_ip_per_hour"?)',
        )

    def test_missing_keys(self) -> None:
        self.check(
            "[[smsc]]\n[[route]]",
            *(f"{p}: missing" for p in ("smsc.1.id", "smsc.1.host", "smsc.1.port", "route.1.name")),
            "route.1.to: expected at least one SMSC, or reject",
        )

    def test_tables(self) -> None:
        self.check(
            'smpp = 3\nsmsc = "A"\nroute = [1]\n[node]\nname = [1]',
            *[
                "node.name: expected a name of letters, digits, '.', '_' and '-', at most 64, got a list",
                "smpp: expected a table, got 3",
                'smsc: expected tables [[smsc]], got "A"',
                "route.1: expected a table, got 1",
            ],
        )
        self.check("[smsc]\nid = 'A'", "smsc: expected tables [[smsc]], got a table")
        self.check("[http]\nlisten = 8080", "http.listen: expected a list, got 8080")

    def test_duplicates(self) -> None:
        self.check(
            ROUTE + '[[route]]\nname = "r"\nto = "A"\n' + SMSC,
            'smsc.2.id: "A" is already smsc.1',
            'route.2.name: "r" is already route.1',
        )

    def test_routes_to_nowhere(self) -> None:
        self.check(
            SMSC.replace('"A"', '"SMSC1"')
            + '[[route]]\nname = "r"\nto = ["SMSC1", "SMCS1", "zz"]\n[[route]]\nname = "s"\nto = []',
            'route.1.to.2: no [[smsc]] has the id "SMCS1" (did you mean "SMSC1"?)',
            'route.1.to.3: no [[smsc]] has the id "zz"',
            "route.2.to: expected at least one SMSC, or reject",
        )

    def test_what_must_agree(self) -> None:
        self.check(
            SMSC + 'reconnect_min = 5\nreconnect_max = 2\n[smpp.tls]\nlisten = ["tcp:3550"]\n'
            'certificate = "c.pem"\nrequire_client_certificate = true\n[http.tls]\nlisten = ["tcp:8443"]',
            "smpp.tls.private_key: missing, and smpp.tls.listen needs it",
            "http.tls.certificate: missing, and http.tls.listen needs it",
            "http.tls.private_key: missing, and http.tls.listen needs it",
            "smpp.tls.client_ca: missing, and require_client_certificate needs it",
            "smsc.1.reconnect_max: expected at least reconnect_min (5), got 2",
        )

    def test_text_of_an_smsc(self) -> None:
        self.check(
            SMSC + 'alphabet = "utf8"\nnational_shifts = ["turkish"]\ninterface_version = "3.3"\nlong_messages = "sar"',
            'smsc.1.national_shifts: shifts are of septets, and alphabet = "utf8" has none',
            'smsc.1.long_messages: "sar" needs TLVs, which interface_version 3.3 has not',
        )
        self.check(
            SMSC + 'alphabet = "ebcdic"\nreference_bits = 12\nnational_shifts = ["klingon"]\nlong_messages = "joined"\n'
            "[text]\nmax_parts = 256",
            "text.max_parts: expected a whole number from 0 to 255, got 256",
            'smsc.1.alphabet: expected one of "gsm7", "gsm7-packed", "latin1", "ascii", "utf8", got "ebcdic"',
            'smsc.1.national_shifts.1: expected one of "turkish", "spanish", "portuguese", "bengali", "gujarati", "hindi", "kannada",'
            ' "malayalam", "oriya", "punjabi", "tamil", "telugu", "urdu", got "klingon"',
            'smsc.1.long_messages: expected one of "as-submitted", "udh", "sar", "payload", got "joined"',
            "smsc.1.reference_bits: expected one of 8, 16, got 12",
        )

    def test_all_at_once(self) -> None:
        error = self.assertRaises(
            SettingsError,
            parse,
            ROUTE.replace('to = ["A"]', 'to = "B"') + 'ordr = 3\n[smpp]\nwindow = "x"\nxx = 1',
            source="f.toml",
        )
        self.assertEqual(
            str(error),
            "f.toml cannot be used:\n"
            "  smpp.xx: unknown key\n"
            '  smpp.window: expected a whole number from 1, got "x"\n'
            '  route.1.ordr: unknown key (did you mean "order"?)\n'
            '  route.1.to.1: no [[smsc]] has the id "B"',
        )

    def test_long_values_are_shortened(self) -> None:
        error = self.assertRaises(SettingsError, parse, SMSC + f'bind = "{"x" * 5000}"')
        self.assertLess(len(str(error)), 300)

    @given(st.text(st.sampled_from('[]{}=,."\n#smpchoutenwd _1')))
    def test_garbage_gives_settings_or_our_error(self, text: str) -> None:
        try:
            self.assertIsInstance(parse(text), Settings)
        except SettingsError as error:
            self.assertTrue(error.problems)

    @given(
        st.sampled_from(
            ["node.name", "smpp.window", "smpp.listen", "http.tls", "smsc", "route", "database.dsn"]
        ),
        st.recursive(
            st.integers()
            | st.booleans()
            | st.text(st.characters(codec="ascii", categories=["L", "N"])).map(lambda s: f'"{s}"'),
            lambda inner: st.lists(inner, max_size=3).map(lambda v: "[" + ", ".join(map(str, v)) + "]"),
        ),
    )
    def test_any_value_anywhere(self, path: str, value: object) -> None:
        text = f"{path} = {str(value).lower() if isinstance(value, bool) else value}"
        try:
            parse(text)
        except SettingsError as error:
            for problem in error.problems:
                self.assertTrue(problem.startswith((path, "not valid TOML")), problem)
