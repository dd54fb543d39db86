"""docs/security.md names tests: they must be there."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`((?:access|channels|cli|e2e|model|store)\.[\w.]+)(?:: (\w+))?`")


class Page(SynchronousTestCase):
    def test_every_test_that_is_named_is_there(self) -> None:
        text = (ROOT / "docs" / "security.md").read_text()
        missing, found = [], 0
        sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
        for module, name in NAMED.findall(text):
            file = ROOT / "tests" / (module.replace(".", "/") + ".py")
            if module == "access.bcrypt_cost":  # a setting
                continue
            found += 1
            if not file.exists() or (name and name not in file.read_text()):
                missing.append((module, name))
        missing += [("", name) for name in re.findall(r"`(test_\w+)`", text) if name not in sources and not list(ROOT.rglob(f"{name}.py"))]
        self.assertEqual(missing, [])
        self.assertGreater(found, 40)
