// A session that ended loses nothing that was typed: what a form held is kept in this tab until the answer came. Where the answer was that the
// session is over, it is put back after the login, for the same user and into the same form. Never passwords, codes, secrets or files.
const KEY = "kept:form";
const LONGEST = 3600e3; // milliseconds
const SECRET = /(^|[_-])(pass(word)?|secret|code|token|otp|pin|key|csrf)($|[_-])/i;
const NEVER = new Set(["password", "hidden", "file", "submit", "button", "image", "reset"]);

const user = document.body.dataset.user ?? "";
const isOver = document.querySelector("[data-session-over]") !== null;

const fields = (form) =>
  [...form.elements].filter(
    (f) =>
      f.name && !f.hidden && f.matches("input, textarea, select") && !NEVER.has(f.type) && !SECRET.test(f.name) &&
      !/password|one-time-code/.test(f.autocomplete ?? "") && !f.matches(".code-input"),
  );

const formsAt = (path) =>
  [...document.forms].filter((f) => f.method === "post" && new URL(f.getAttribute("action") || location.href, location.href).pathname === path);

function valueOf(f) {
  if (f.type === "checkbox" || f.type === "radio") return f.checked;
  if (f.type === "select-multiple") return [...f.selectedOptions].map((o) => o.value);
  return f.value;
}

function putBack(f, value) {
  if (typeof value === "boolean") f.checked = value;
  else if (Array.isArray(value)) for (const o of f.options) o.selected = value.includes(o.value);
  else f.value = value;
  for (const kind of ["input", "change"]) f.dispatchEvent(new Event(kind, { bubbles: true }));
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function write(entry) {
  try {
    if (entry === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, JSON.stringify(entry));
  } catch {
    // full, or forbidden: nothing is kept
  }
}

document.addEventListener("submit", (e) => {
  const form = e.target;
  if (form.getAttribute("action") === "/logout") sessionStorage.clear(); // drafts of others' forms, too
  if (e.defaultPrevented || form.method !== "post" || !user || "nokeep" in form.dataset) return;
  const values = fields(form).map((f) => [f.name, f.type, valueOf(f)]);
  const path = new URL(form.getAttribute("action") || location.href, location.href).pathname;
  if (values.length) write({ user, path, values, index: formsAt(path).indexOf(form), at: Date.now(), over: false });
});

const entry = read();
if (entry && isOver) write({ ...entry, over: true });
else if (entry && user) {
  const fresh = entry.over && entry.user === user && Date.now() - entry.at < LONGEST;
  const form = fresh ? formsAt(entry.path)[entry.index] : undefined;
  if (form) {
    const there = fields(form);
    entry.values.forEach(([name, type, value], i) => {
      // by its place where the page is the same, else by its name
      const f = there[i]?.name === name && there[i].type === type ? there[i] : there.find((x) => x.name === name && x.type === type);
      if (f) putBack(f, value);
    });
    const note = document.createElement("p");
    note.className = "notice info";
    note.setAttribute("role", "status");
    note.textContent = document.body.dataset.kept;
    document.getElementById("content").prepend(note);
    there.find((f) => f.offsetParent !== null)?.focus();
    write(null);
  } else if (!fresh) write(null);
}
