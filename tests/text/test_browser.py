"""The counter in the browser says what the server does: its script is run, over many texts."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from importlib import resources
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.campaigns.rendering import Text, Unsendable
from protei_bulk.text import gsm
from protei_bulk.text.browser import tables
from protei_bulk.text.smart import REPLACED, smart
from protei_bulk.text.variables import Missing, Wording

_SCRIPT = """
const alphabet = new Alphabet(INPUT.tables);
OUTPUT = INPUT.cases.map(([text, encoding, smart]) => {
  const found = alphabet.count(text, encoding, smart);
  return [found && [found.text, found.alphabet, found.parts], alphabet.smart(text), alphabet.foreign(text).join(""),
          alphabet.pieces(text).map((p) => p.text).join("")];
}).concat([INPUT.templates.map(([text, values, defaults]) => [render(text, values, defaults), variables(text)])]);
"""


def run_script(given: dict[str, Any]) -> list[Any]:
    """By Node where it is there, else by Chromium."""
    source = resources.files("protei_bulk.channels.portal").joinpath("static/js/sms.js").read_text()
    script = source.replace("export ", "") + _SCRIPT
    node = shutil.which("node")
    if node is not None:
        program = (
            "const INPUT = JSON.parse(require('fs').readFileSync(0, 'utf8')); let OUTPUT;\n"
            f"{script}\nprocess.stdout.write(JSON.stringify(OUTPUT));"
        )
        done = subprocess.run([node, "-e", program], input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise AssertionError(done.stderr)
        return list(json.loads(done.stdout))
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        found = page.evaluate(f"(INPUT) => {{ let OUTPUT; {script}; return OUTPUT; }}", given)
        browser.close()
        return list(found)


def texts(seed: int, many: int) -> list[str]:
    """Of all kinds and lengths, most of them about as long as a part or two."""
    chosen = random.Random(seed)
    basic = gsm.BASIC.replace("\x1b", "").replace("%", "")  # no variables by chance
    extended = "".join(gsm.EXTENSION.values())
    typographic = "".join(sorted(map(chr, REPLACED)))
    marks = "\u0300\u0301\u0308\u0323\u0327"
    foreign = "مرحبابكЖи漢字ệşğıİ😀👩\u200d💻\U0001f1ef\U0001f1f4\u06f5ﬁ①Å"
    out = ["", " ", "a" * 160, "a" * 161, "€" * 80, "€" * 81, "é" * 70, "ж" * 70, "ж" * 71, "😀" * 35, "😀" * 36, "a" * 152 + "€" + "b" * 9]
    for _ in range(many):
        everything = [basic, extended, typographic, foreign, marks]
        kinds = chosen.choice(([basic], [basic, extended], [basic, typographic], [basic, foreign], everything, [foreign], ["abcé", marks],
                               [extended]))  # fmt: skip
        length = chosen.choice((3, 30, 69, 70, 71, 133, 134, 135, 159, 160, 161, 200, 306, 307, 459, 700))
        out.append("".join(chosen.choice(chosen.choice(kinds)) for _ in range(length)))
    return out


class Counter(SynchronousTestCase):
    def test_it_counts_as_the_server_does(self) -> None:
        cases = [(t, e, s) for t in texts(7, 700) for e, s in (("AUTO", False), ("AUTO", True), ("UCS2", False), ("GSM7", True))]
        found = run_script({"tables": tables(), "cases": cases, "templates": []})
        for (text, encoding, smartly), (counted, better, foreign, whole) in zip(cases, found[:-1], strict=True):
            try:
                rendered = Text(text, encoding, smartly).render()
                alphabet = {0: "GSM7", 8: "UCS2"}[rendered.data_coding]
                expected: Any = [rendered.text, alphabet, rendered.segments]
            except Unsendable as error:
                if error.code == "NO_MESSAGE":
                    continue  # the counter says 1 part of nothing
                expected = None
            self.assertEqual(counted, expected, (text, encoding, smartly))
            self.assertEqual(better, smart(text).text)
            self.assertEqual(foreign, gsm.foreign(text))
            self.assertEqual(whole, text)

    def test_every_character_by_itself(self) -> None:
        """All that smart encoding knows, and what stands around it."""
        singles = [*tables()["instead"], *map(chr, range(0x20, 0x250)), *map(chr, range(0x1E00, 0x2100)), *map(chr, range(0xFB00, 0xFB10))]
        cases = [(f"x{c}y", "AUTO", True) for c in singles]
        found = run_script({"tables": tables(), "cases": cases, "templates": []})
        for (text, _, _), (_, better, foreign, _) in zip(cases, found[:-1], strict=True):
            self.assertEqual(better, smart(text).text, ascii(text))
            self.assertEqual(foreign, gsm.foreign(text))

    def test_variables(self) -> None:
        templates = [
            ("Dear %NAME%, 100% of %AMOUNT% %", {"NAME": "Lina", "AMOUNT": "5%NAME%"}, {}),
            ("%NAME%%NAME%", {"NAME": ""}, {"NAME": "friend"}),
            ("%NAME%", {"NAME": ""}, {}), ("%A% %B%", {"A": "x"}, {}), ("%A%", {}, {"A": "$&"}), ("50%A% %1% %a b% %%", {}, {"A": "y"}),
        ]  # fmt: skip
        found = run_script({"tables": tables(), "cases": [], "templates": templates})[-1]
        for (text, values, defaults), (rendered, names) in zip(templates, found, strict=True):
            template = Wording(text, defaults)
            self.assertEqual(tuple(names), template.names)
            try:
                self.assertEqual((rendered["text"], rendered["missing"]), (template.render(values), None))
            except Missing as error:
                self.assertEqual(rendered["missing"], error.name)
