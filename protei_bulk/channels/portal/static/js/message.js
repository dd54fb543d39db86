// The message's step: counts while one types, shows what keeps the text from the GSM alphabet, fills in the first recipients' values.
import { Alphabet, render, variables } from "./sms.js";

const box = document.querySelector("[data-sms]");
const area = document.getElementById("f-text");
let samples = JSON.parse(box.dataset.samples);
const find = (name) => box.querySelector(`[data-${name}]`);
const number = new Intl.NumberFormat("en");
// Letters of other scripts than those of the GSM alphabet: with them there is nothing to mend.
const SCRIPT = /(?!\p{Script=Latin}|\p{Script=Greek})\p{L}/u;
let chosen = 0;
let alphabet = null;

const element = (name, text, kind = "") => Object.assign(document.createElement(name), { textContent: text, className: kind });

function defaults() {
  const out = {};
  for (const input of box.querySelectorAll('input[name^="default-"]')) out[input.name.slice(8)] = input.value.trim().normalize("NFC");
  return out;
}

// What the first recipient gets; without recipients the names themselves stand there.
function filled() {
  const text = area.value.normalize("NFC");
  const values = samples[chosen]?.[1] ?? Object.fromEntries(variables(text).map((n) => [n, defaults()[n] || `%${n}%`]));
  return render(text, values, defaults());
}

function show() {
  const { text, missing } = filled();
  const smart = box.querySelector("input[name=smart]").checked;
  const encoding = document.getElementById("f-encoding").value;
  const found = alphabet.count(text, encoding, smart);
  const error = find("counter-error");
  const long = found !== null && found.parts > alphabet.most;
  error.hidden = found !== null && !long;
  error.textContent = long ? find("counter").dataset.long : find("counter").dataset.over;
  find("parts").textContent = found ? number.format(text.trim() ? found.parts : 0) : "–";
  find("characters").textContent = number.format(found ? found.characters : [...text].length);
  find("left").textContent = found ? number.format(found.left) : "–";
  find("alphabet").textContent = (found?.alphabet ?? encoding) === "UCS2" ? "UCS-2" : "GSM 7-bit";
  const shown = found ? found.text : text;
  const bubble = find("preview");
  bubble.replaceChildren();
  for (const piece of alphabet.pieces(shown)) {
    if (piece.by === undefined || encoding === "UCS2" || SCRIPT.test(shown)) bubble.append(piece.text);
    else bubble.append(element("mark", piece.text, piece.by === null ? "never" : ""));
  }
  const lacks = find("missing");
  if (lacks) {
    lacks.hidden = missing === null;
    lacks.textContent = missing === null ? "" : `${lacks.dataset.text} %${missing}%`;
  }
  foreign(encoding, smart, found);
  fields();
}

function foreign(encoding, smart, found) {
  const panel = find("foreign");
  const seen = new Map();
  for (const piece of alphabet.pieces(area.value.normalize("NFC"))) if (piece.by !== undefined) seen.set(piece.text, piece.by);
  const script = SCRIPT.test(area.value);
  find("script").hidden = !script || encoding === "UCS2";
  panel.hidden = seen.size === 0 || script || encoding === "UCS2";
  if (panel.hidden) return;
  const why = find("foreign-why");
  why.textContent = smart && found?.alphabet === "GSM7" ? why.dataset.smart : why.dataset.plain;
  find("replace-all").hidden = ![...seen.values()].some((by) => by !== null);
  find("foreign-list").replaceChildren(
    ...[...seen].slice(0, 60).map(([character, by]) => {
      const item = document.createElement("li");
      item.append(element("bdi", character.trim() ? character : `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`, "glyph"));
      if (by === null) {
        item.append(element("span", panel.dataset.never, "muted"));
        return item;
      }
      const button = element("button", "", "button small");
      button.type = "button";
      button.append(`${panel.dataset.replace} `, element("bdi", by === "" ? "∅" : by === " " ? "␠" : by));
      button.addEventListener("click", () => change((text) => text.replaceAll(character, by)));
      item.append(button);
      return item;
    }),
  );
}

function change(how) {
  area.value = how(area.value.normalize("NFC"));
  area.dispatchEvent(new Event("input", { bubbles: true }));
  area.focus();
}

// A field for the default of each variable that the text has.
function fields() {
  const holder = find("default-fields");
  if (!holder) return;
  const names = variables(area.value);
  for (const field of holder.querySelectorAll("[data-default]")) field.hidden = !names.includes(field.dataset.default);
  for (const name of names) {
    if (holder.querySelector(`[data-default="${CSS.escape(name)}"]`)) continue;
    const field = element("div", "", "field");
    field.dataset.default = name;
    const label = element("label", holder.dataset.label.replace("%NAME%", `%${name}%`));
    const input = Object.assign(document.createElement("input"), { name: `default-${name}`, id: `f-default-${name}`, maxLength: 200, autocomplete: "off" });
    input.dir = "auto";
    label.htmlFor = input.id;
    field.append(label, input);
    holder.append(field);
  }
  find("defaults").hidden = names.length === 0;
}

function wire() {
  box.addEventListener("input", show);
  box.addEventListener("change", show);
  find("replace-all").addEventListener("click", () => change((text) => alphabet.replaced(text)));
  for (const chip of box.querySelectorAll("[data-insert]"))
    chip.addEventListener("click", () => {
      area.setRangeText(chip.dataset.insert, area.selectionStart, area.selectionEnd, "end");
      area.dispatchEvent(new Event("input", { bubbles: true }));
      area.focus();
    });
  for (const button of box.querySelectorAll("[data-sample]"))
    button.addEventListener("click", () => {
      chosen = Number(button.dataset.sample);
      for (const b of box.querySelectorAll("[data-sample]")) b.setAttribute("aria-pressed", String(b === button));
      find("to").querySelector("bdi").textContent = `+${samples[chosen][0]}`;
      show();
    });
}

// Recipients that are still being read: the first ones' values come as soon as they are there.
function later() {
  if (!box.dataset.later) return;
  setTimeout(async () => {
    try {
      const answer = await fetch(box.dataset.later);
      const said = answer.ok && !answer.redirected ? await answer.json() : {};
      if (!said.ready) return later();
      samples = said.samples;
      if (!samples.length) return;
      find("to-known").querySelector("bdi").textContent = `+${samples[0][0]}`;
      find("to-known").hidden = false;
      find("to-unknown").hidden = true;
      for (const b of box.querySelectorAll("[data-sample]")) b.hidden = samples.length < 2 || Number(b.dataset.sample) >= samples.length;
      show();
    } catch {
      later();
    }
  }, 2000);
}

const answer = await fetch(box.dataset.sms);
if (answer.ok) {
  alphabet = new Alphabet(await answer.json());
  wire();
  show();
  later();
}
