"""docs/security.md: one line a requirement, with tests that are there; what rests on the source is looked up there."""

from __future__ import annotations

import ast
import importlib
import re
import unittest
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase, TestCase

from protei_bulk.channels.http.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "protei_bulk"
PAGES = PACKAGE / "channels" / "portal"
#: how many requirements of levels 1 and 2 each chapter has (those that were not withdrawn)
CHAPTERS = {2: 53, 3: 18, 4: 9, 5: 30, 6: 13, 7: 12, 8: 15, 9: 7, 10: 5, 11: 8, 12: 15, 13: 13, 14: 23}


def lines(heading: str) -> list[list[str]]:
    """The cells of every table below a heading, down to the next of its level or above."""
    text = (ROOT / "docs" / "security.md").read_text()
    level = heading.partition(" ")[0]
    section = text.split(f"\n{heading}", 1)[1]
    section = re.split(rf"\n#{{2,{len(level)}}} ", section, maxsplit=1)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("|")]
    return [row for row in rows if row[0] and not row[0].startswith("-")]


def there(name: str) -> bool:
    """Whether a dotted name is a test, or a class of tests."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            found = getattr(found, part, None)
        if isinstance(found, type):
            return issubclass(found, unittest.TestCase | SynchronousTestCase | TestCase) and any(m.startswith("test_") for m in dir(found))
        return callable(found) and parts[-1].startswith("test_")
    return False


class Table(SynchronousTestCase):
    def test_every_test_is_there(self) -> None:
        names = set(re.findall(r"`(tests\.[\w.]+)`", (ROOT / "docs" / "security.md").read_text())) - {"tests.test_security_table"}
        self.assertGreater(len(names), 150)
        self.assertEqual([name for name in sorted(names) if not there(name)], [])

    def test_every_requirement_has_one_line(self) -> None:
        found = [number for row in lines("## ASVS 4.0.3") for number in row[0].split()]
        self.assertEqual([n for n, count in Counter(found).items() if count > 1], [])
        self.assertEqual(dict(Counter(int(n.split(".")[0]) for n in found)), CHAPTERS)
        self.assertEqual([row[0] for row in lines("## OWASP API")], [f"API{n}" for n in range(1, 11)])

    def test_every_line_is_proven_or_says_why_not(self) -> None:
        for heading in ("## ASVS 4.0.3", "## OWASP API", "## RFC 8725", "## NIST SP"):
            for row in lines(heading):
                self.assertEqual(len(row), 4, row)
                plain = "**no" in row[2] or row[2].startswith("not applicable, because ") or "](#" in row[2]
                self.assertTrue("`tests." in row[3] or plain, row)


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def texts(tree: ast.AST) -> Iterator[str]:
    """String constants that are no docstrings."""
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


class Sources(SynchronousTestCase):
    def markup(self) -> Iterator[tuple[str, str]]:
        for path in sorted([*PAGES.rglob("*.html"), *PAGES.rglob("*.js"), *PAGES.rglob("*.css"), *PAGES.rglob("*.svg")]):
            yield str(path.relative_to(PAGES)), path.read_text()

    def test_no_code_is_made_of_data(self) -> None:
        """No eval, no pickle, no shell; templates come from files only."""
        calls = {"eval", "exec", "compile", "__import__", "from_string", "Template", "system", "popen"}
        modules = {"pickle", "marshal", "shelve", "yaml", "dill"}
        for name, tree in trees():
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    called = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                    fine = called == "compile" and isinstance(node.func, ast.Attribute)  # of regular expressions
                    self.assertFalse(called in calls and not fine, f"{name}:{node.lineno}")
                    self.assertNotIn("shell", [k.arg for k in node.keywords], f"{name}:{node.lineno}")
                imported = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                imported += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                self.assertFalse(modules & {i.partition(".")[0] for i in imported}, name)

    def test_pages_load_nothing_from_elsewhere(self) -> None:
        """Nor run what stands in them."""
        for name, text in self.markup():
            self.assertNotRegex(text, r"""(?i)(?:src|href|action|url|import|from)\s*(?:=|\()?\s*["'(]\s*(?:https?:)?//""", name)
            self.assertNotRegex(text, r"\beval\(|new Function|document\.write|\.outerHTML|insertAdjacentHTML", name)
            if name.endswith((".html", ".svg")):
                self.assertNotRegex(text, r"(?i)<script(?![^>]*\ssrc=)|\son[a-z]+\s*=|javascript:|<foreignObject|autoescape\s+false", name)
                unescaped = re.findall(r"\{\{[^}]*\|\s*safe", text)
                self.assertEqual(unescaped, ["{{ paths|safe"] if name.endswith("macros/icons.html") else [], name)
            if ".innerHTML" in text:
                self.assertTrue(name.endswith(("live.js", "wizard.js")), name)  # what they show comes escaped from the server

    def test_password_fields_are_plain(self) -> None:
        """Password managers fill them in, and paste works."""
        for name, text in self.markup():
            for field in re.findall(r"<input[^>]*type=\"password\"[^>]*>|type=\"password\"[^}]*\}\)", text):
                self.assertRegex(field, r"autocomplete\"?[:=] ?\"(current|new)-password", name)
            self.assertNotRegex(text, r"onpaste|addEventListener\(\"paste", name)

    def test_drafts_hold_no_secrets(self) -> None:
        for name, text in self.markup():
            for form in re.findall(r"<form[^>]*data-draft.*?</form>", text, re.DOTALL):
                self.assertNotIn("password", form, name)
            for line in text.splitlines():
                self.assertFalse("localStorage" in line, name)
        script = (PAGES / "static" / "js" / "app.js").read_text()
        self.assertIn(":not([type=hidden], [type=password], [type=file])", script)

    def test_no_secrets_in_paths(self) -> None:
        secret = re.compile(r"(?i)pass|secret|token|otp|api_?key|authorization")
        for name, operation in OPERATIONS.items():
            self.assertEqual([q for q in operation.query if secret.search(q)], [], name)
        for name, text in self.markup():
            for form in re.findall(r"<form[^>]*method=\"get\".*?</form>", text, re.DOTALL):
                self.assertNotRegex(form, r'name="(csrf|password|code|ticket|token)"', name)
            self.assertNotRegex(text, r'href="[^"]*(csrf|token|password)=', name)

    def test_no_secrets(self) -> None:
        pattern = r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n|\$2[aby]\$\d\d\$.{53}|\beyJ[\w-]{20,}\.|whsec_[\w+/]{16,}|AKIA[0-9A-Z]{16}"
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "etc").rglob("*"), *(ROOT / "bin").iterdir()]:
            if path.is_file():
                self.assertNotRegex(path.read_text(errors="replace"), pattern, str(path))

    def test_chance(self) -> None:
        """What must not be guessed comes from the system's generator."""
        for name, tree in trees():
            if name.startswith(("access/", "callbacks/", "channels/portal/", "store/")):
                for node in ast.walk(tree):
                    if isinstance(node, ast.Import | ast.ImportFrom):
                        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
                        self.assertNotIn("random", modules, name)

    def test_no_addresses_of_others(self) -> None:
        """The program asks nobody whom its configuration does not name."""
        ours = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]|([\w-]+\.)*example(\.(com|net|org))?)?([:/?\"' ,)]|$)")
        names = {"http://www.w3.org/2000/svg", "https://json-schema.org/draft/2020-12/schema"}  # names of formats, not asked
        for name, tree in trees():
            for text in texts(tree):
                for found in re.finditer(r"https?://([^\s<>{}]*)", text):
                    if found[0] not in names:
                        self.assertRegex(found[1], ours, f"{name}: {text[:80]}")
