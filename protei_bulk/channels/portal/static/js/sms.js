// How a text goes out: alphabet, characters, parts, and what keeps it from the GSM alphabet. It counts as the server does:
// the tables come from there. No page is touched here.
const CLUSTER = /[^\u0300-\u036f]?[\u0300-\u036f]+|[^\x00-\x7f]|[`\t\x0b]/gsu;
const VARIABLE = /%([A-Za-z_][A-Za-z0-9_]{0,63})%/g;

export class Alphabet {
  constructor(tables) {
    Object.assign(this, tables);
    this.extended = new Set(tables.extended);
    this.all = new Set([...tables.basic, ...tables.extended]);
    this.instead = new Map(Object.entries(tables.instead));
  }

  isGsm(text) {
    for (const c of text) if (!this.all.has(c)) return false;
    return true;
  }

  // What the alphabet lacks, each character once.
  foreign(text) {
    return [...new Set(text)].filter((c) => !this.all.has(c));
  }

  // What stands for a character with its combining marks; null where nothing does.
  standIn(cluster) {
    const whole = cluster.normalize("NFC");
    if (this.isGsm(whole)) return whole;
    let out = "";
    for (const c of whole) {
      const by = this.instead.get(c) ?? (this.all.has(c) ? c : null);
      if (by === null) return null;
      out += by;
    }
    return out;
  }

  // Everything that has a stand-in replaced, whether the text is wholly in the alphabet then or not.
  replaced(text) {
    return text.replace(CLUSTER, (found) => (this.isGsm(found) ? found : (this.standIn(found) ?? found)));
  }

  // Smart encoding: the text in the GSM alphabet, or as it is where something would be lost.
  smart(text) {
    const done = this.replaced(text);
    return this.isGsm(done) ? done : text;
  }

  // [{text, by}] in order: `by` is undefined for what fits, null for what nothing can replace.
  pieces(text) {
    const out = [];
    let at = 0;
    const plain = (to) => to > at && out.push({ text: text.slice(at, to) });
    for (const match of text.matchAll(CLUSTER)) {
      if (this.isGsm(match[0])) continue;
      plain(match.index);
      out.push({ text: match[0], by: this.standIn(match[0]) });
      at = match.index + match[0].length;
    }
    plain(text.length);
    return out;
  }

  // {alphabet, characters, units, parts, left, room}: `left` units of the last part; null where the encoding cannot say the text.
  count(given, encoding, smart) {
    let text = given;
    if (smart) {
      const better = this.smart(given);
      if (this.isGsm(better)) [text, encoding] = [better, "GSM7"];
    }
    const gsm = this.isGsm(text);
    if (encoding === "AUTO") encoding = gsm ? "GSM7" : "UCS2";
    if (encoding === "GSM7" && !gsm) return null;
    const sizes = [];
    for (const c of text) sizes.push(encoding === "GSM7" ? (this.extended.has(c) ? 2 : 1) : c.length);
    const units = sizes.reduce((a, b) => a + b, 0);
    const [single, part] = encoding === "GSM7" ? [this.single, this.part] : [this.wide_single, this.wide_part];
    if (units <= single) return { text, alphabet: encoding, characters: sizes.length, units, parts: 1, room: single, left: single - units };
    let parts = 1;
    let used = 0;
    for (const size of sizes) {
      if (used + size > part) {
        parts += 1;
        used = 0;
      }
      used += size;
    }
    return { text, alphabet: encoding, characters: sizes.length, units, parts, room: part, left: part - used };
  }
}

export const variables = (text) => [...new Set([...text.matchAll(VARIABLE)].map((m) => m[1]))];

// As text/variables.py: an empty value is lacking where there is a default; null where one is missing.
export function render(text, values, defaults) {
  let missing = null;
  const out = text.replace(VARIABLE, (whole, name) => {
    let value = values[name];
    if (value === undefined || value === "") {
      if (defaults[name]) value = defaults[name];
      else if (value === undefined) missing ??= name;
    }
    return value ?? whole;
  });
  return { text: out, missing };
}
