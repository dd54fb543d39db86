// The wizard: what is typed is saved a moment later, fields appear with the choice that needs them, what is being counted is asked
// for until it is there. Without this file each Next and Back saves, and a link looks again.
const form = document.querySelector("form[data-wizard]");
const note = document.querySelector("[data-saved]");
const banner = document.querySelector("[data-conflict]");
const PAUSE = 900; // milliseconds after the last key
const AGAIN = 5000; // until the next try after one that failed

let timer = 0;
let flying = null;
let dirty = false;
let stopped = false;

const say = (what) => note && (note.textContent = note.dataset[what] ?? "");

function conflict(version) {
  stopped = true;
  form.dataset.theirs = String(version);
  say("");
  banner.hidden = false;
  banner.querySelector("button, a")?.focus();
}

// After a login in another tab the form goes on with that session's mark.
async function renewed() {
  try {
    const page = new DOMParser().parseFromString(await (await fetch(location.href)).text(), "text/html");
    const mark = page.querySelector("form[data-wizard] input[name=csrf]")?.value;
    if (!mark || mark === form.elements.csrf.value) return false;
    form.elements.csrf.value = mark;
    return true;
  } catch {
    return false;
  }
}

async function send(again = true) {
  const data = new URLSearchParams(new FormData(form));
  data.set("auto", "1");
  data.delete("go");
  let answer;
  try {
    answer = await fetch(form.action, { method: "POST", body: data, headers: { Accept: "application/json" }, keepalive: data.toString().length < 60000 });
  } catch {
    return later("failed");
  }
  if (answer.status === 401 || answer.status === 403) return again && (await renewed()) ? send(false) : later("over");
  const kind = answer.headers.get("content-type") ?? "";
  if (!kind.startsWith("application/json")) return later(answer.redirected ? "over" : "failed");
  const said = await answer.json();
  if (answer.status === 409) return said.gone ? location.reload() : conflict(said.version);
  if (!answer.ok) return later("failed");
  if (!said.saved) return say("");
  form.elements.version.value = said.version;
  if (said.path) {
    form.action = said.path;
    history.replaceState(null, "", said.path);
  }
  if (said.words) words(said.words);
  if (!dirty) say("done");
  form.dispatchEvent(new CustomEvent("saved", { bubbles: true }));
}

function later(what) {
  dirty = true;
  say(what);
  clearTimeout(timer);
  timer = setTimeout(save, AGAIN);
}

async function save() {
  clearTimeout(timer);
  if (stopped || !form) return;
  if (flying) return flying;
  dirty = false;
  say("saving");
  flying = send().finally(() => (flying = null));
  await flying;
  if (dirty && !stopped) timer = setTimeout(save, PAUSE);
}

function words(sentences) {
  const list = document.querySelector("[data-words]");
  if (!list) return;
  list.replaceChildren(
    ...sentences.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    }),
  );
}

function autosave() {
  const changed = (e) => {
    if (e.target.name && !e.target.closest("[data-unsaved]")) {
      dirty = true;
      clearTimeout(timer);
      timer = setTimeout(save, PAUSE);
    }
  };
  form.addEventListener("input", changed);
  form.addEventListener("change", changed);
  // Forms that are sent while a save is under way would come from an old version: they wait for it.
  form.addEventListener(
    "submit",
    (e) => {
      clearTimeout(timer);
      if (e.submitter?.hasAttribute("data-overwrite") && form.dataset.theirs) form.elements.version.value = form.dataset.theirs;
      if (!flying) {
        stopped = true;
        return;
      }
      e.preventDefault();
      e.stopImmediatePropagation();
      const by = e.submitter;
      flying.then(() => {
        if (!form.dataset.theirs) form.requestSubmit(by);
      });
    },
    true,
  );
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && dirty) save();
  });
  window.addEventListener("pageshow", () => (stopped = Boolean(form.dataset.theirs)));
}

// data-shown-with="name=value": only while that is chosen.
function shown() {
  const look = () => {
    for (const box of document.querySelectorAll("[data-shown-with]")) {
      const [name, value] = box.dataset.shownWith.split("=");
      box.hidden = new FormData(form).get(name) !== value;
    }
  };
  form.addEventListener("change", look);
  look();
}

// data-poll="path": this part of the page is asked for until it comes without the attribute.
function poll() {
  for (const part of document.querySelectorAll("[data-poll]:not([data-polling])")) {
    part.dataset.polling = "1";
    setTimeout(async () => {
      try {
        const answer = await fetch(part.dataset.poll, { headers: { Accept: "text/html" } });
        if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
        const box = document.createElement("template");
        box.innerHTML = await answer.text();
        const fresh = box.content.firstElementChild;
        if (fresh && !part.contains(document.activeElement)) part.replaceWith(fresh);
        else if (fresh?.hasAttribute("data-poll")) delete part.dataset.polling;
        else if (fresh) part.replaceWith(fresh);
      } catch {
        delete part.dataset.polling;
      }
      poll();
    }, 1000);
  }
}

if (form) {
  if (form.hasAttribute("data-autosave")) autosave();
  shown();
  poll();
}
