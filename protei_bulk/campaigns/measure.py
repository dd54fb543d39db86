"""How many parts a campaign's text has for all who were gathered, and for whom something is missing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protei_bulk.campaigns.rendering import INVALID_TEXT, MISSING_VARIABLE, TOO_LONG_TEXT, Text, Unsendable

PREFIX = 7  # digits by which recipients are counted: prices and networks go by fewer
MOST_PREFIXES = 5000
SAMPLES = 3


def measure(blocks: Iterable[list[list[Any]]], text: str, encoding: str, smart: bool, defaults: Mapping[str, str],
            tick: Callable[[int], None]) -> dict[str, Any]:  # fmt: skip
    """`blocks` as campaign_blocks holds them; `tick` is told how many recipients are done."""
    template = Text(text, encoding, smart, defaults)
    names = template.names
    counted: Counter[tuple[str, int]] = Counter()  # by the first digits and the number of parts
    missing: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    samples: list[tuple[str, str]] = []
    done = longest = 0
    if not names:
        try:
            rendered = template.render()
            segments, longest = rendered.segments, len(rendered.text)
        except Unsendable as error:
            segments, rendered = 0, None
            code = error.code
        for block in blocks:
            done += len(block)
            if rendered is None:
                faults[code] += len(block)
            else:
                for prefix, n in Counter([r[0][:PREFIX] for r in block]).items():
                    counted[prefix, segments] += n
                samples += [(r[0], rendered.text) for r in block[: SAMPLES - len(samples)]]
            tick(done)
    else:
        nobody: dict[str, str] = {}
        for block in blocks:
            for recipient in block:
                number, variables = recipient[0], recipient[1] if len(recipient) > 1 else nobody
                try:
                    rendered = template.render(variables)
                except Unsendable as error:
                    if error.code == MISSING_VARIABLE:
                        missing.update(template.missing(variables))
                        faults[MISSING_VARIABLE] += 1
                    else:
                        faults[error.code] += 1
                    continue
                counted[number[:PREFIX], rendered.segments] += 1
                if len(rendered.text) > longest:
                    longest = len(rendered.text)
                if len(samples) < SAMPLES:
                    samples.append((number, rendered.text))
            done += len(block)
            tick(done)
    odd = faults[MISSING_VARIABLE] + faults[INVALID_TEXT] + faults[TOO_LONG_TEXT]
    return {
        "recipients": done, "done": done, "segments": sum(parts * n for (_, parts), n in counted.items()),
        "histogram": _few(counted), "missing": dict(missing), "without": faults[MISSING_VARIABLE], "unencodable": faults[INVALID_TEXT],
        "too_long": faults[TOO_LONG_TEXT], "empty": faults.total() - odd,
        "longest": longest, "samples": [list(s) for s in samples],
    }  # fmt: skip


def _few(counted: Counter[tuple[str, int]]) -> list[list[Any]]:
    """With shorter prefixes, where there are very many."""
    for digits in (PREFIX, 5, 4, 3):
        shorter: Counter[tuple[str, int]] = Counter()
        for (prefix, parts), n in counted.items():
            shorter[prefix[:digits], parts] += n
        if len(shorter) <= MOST_PREFIXES or digits == 3:
            break
    return [[prefix, parts, n] for (prefix, parts), n in sorted(shorter.items())]
