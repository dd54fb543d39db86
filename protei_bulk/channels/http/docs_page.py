"""The OpenAPI document as one page for people: no script, nothing from elsewhere, one style sheet that the CSP names. Pure."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

import orjson

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem 1.25rem 4rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; background: var(--soft); padding: .75rem; border-radius: 6px; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: 0 .75rem; }
summary { cursor: pointer; padding: .6rem 0; } summary b { display: inline-block; min-width: 4.5rem; } summary span { opacity: .75; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .3rem .75rem .3rem 0;
  border-bottom: 1px solid var(--line); } nav a { margin-right: 1rem; } a:focus-visible, summary:focus-visible { outline: 3px solid; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CSP = f"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-{_HASH}'"


def page(document: dict[str, Any]) -> bytes:
    info = document["info"]
    tags = [tag["name"] for tag in document["tags"]]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(info['title'])}: HTTP API</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])}: HTTP API</h1><p>Version {escape(info['version'])} · <a href=\"/openapi.json\">openapi.json</a></p>",
        f"<p>{_prose(info['description'])}</p><nav>",
        *(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in tags),
        '<a href="#documents">Documents</a></nav><main>',
    ]
    for tag in tags:
        parts.append(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>')
        for path, methods in document["paths"].items():
            parts += [_operation(path, method, o) for method, o in methods.items() if tag in o["tags"]]
    parts.append('<h2 id="documents">Documents</h2>')
    for name, schema in document["components"]["schemas"].items():
        parts.append(f'<details id="schema-{escape(name)}"><summary><b>{escape(name)}</b></summary>{_schema(schema)}</details>')
    parts.append("</main></body></html>")
    return "".join(parts).encode()


def _operation(path: str, method: str, o: dict[str, Any]) -> str:
    who = " or ".join(name for way in o["security"] for name in way) or "nobody asks who you are"
    parts = [
        f'<details id="{escape(o["operationId"])}"><summary><b>{method.upper()}</b> <code>{escape(path)}</code> '
        f"<span>{escape(o['summary'])}</span></summary><p>Credentials: {escape(who)}. {_prose(o.get('description', ''))}</p>"
    ]
    if o.get("parameters"):
        rows = "".join(
            f"<tr><td><code>{escape(p['name'])}</code></td><td>{p['in']}</td><td>{_short(p['schema'])}</td></tr>" for p in o["parameters"]
        )
        parts.append(f"<table><tr><th>Parameter</th><th>in</th><th></th></tr>{rows}</table>")
    if "requestBody" in o:
        schema = o["requestBody"]["content"]["application/json"]["schema"]
        needed = "" if o["requestBody"]["required"] else " (may be left out)"
        parts.append(f"<h3>Body{needed}</h3>{_schema(schema)}")
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{_media(answer)}</td></tr>"
        for status, answer in o["responses"].items()
    )
    parts.append(f"<h3>Answers</h3><table>{rows}</table></details>")
    return "".join(parts)


def _media(answer: dict[str, Any]) -> str:
    return "; ".join(f"<code>{escape(kind)}</code> {_short(content['schema'])}" for kind, content in answer["content"].items())


def _schema(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode())}</pre>"


def _short(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema and all("$ref" in part for part in schema["anyOf"]):
        return " or ".join(map(_short, schema["anyOf"]))
    text = orjson.dumps({k: v for k, v in schema.items() if k != "description"}).decode()
    about = _prose(schema.get("description", ""))
    if len(text) >= 400:
        return f"<details><summary>…</summary>{_schema(schema)}</details>"
    return f"<code>{escape(text)}</code> {about}".strip()


def _prose(text: str) -> str:
    """Text with `code` in it."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if n % 2 else piece for n, piece in enumerate(pieces))


def _anchor(tag: str) -> str:
    return tag.lower().replace(" ", "-")
