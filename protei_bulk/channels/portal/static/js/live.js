// Live pages: one stream of server-sent events an open page (see channels/portal/events.py for the server's side).
//
//   <p data-live="/path/of/the/stream" data-state="off" hidden>…</p>   made by macros/live.html: names the stream, shows its state
//   <div id="x" data-part>…</div>                                     replaced by what the server sends for "x"
//
// After a part was replaced, the event "part" (CustomEvent, bubbles) is dispatched on it. A part in which somebody has a dialog or
// a menu open, or types, waits until that is over. What had the focus in a part gets it again (by its id, href, or name and value).
// A page that nobody looks at has no stream: browsers allow few connections to a server.
const RETRY = 8000; // milliseconds, on the average, after a refusal
const CALM = 4000; // a break shorter than this is not shown

const marker = document.querySelector("[data-live]");
const waiting = new Map();

function busy(part) {
  const active = document.activeElement;
  const types = active && part.contains(active) && active.matches("input:not([type=hidden], [type=button]), textarea, select");
  return types || part.querySelector("dialog[open], details.menu-pop[open]") !== null;
}

function selector(element) {
  if (!element || element === document.body) return "";
  if (element.id) return `#${CSS.escape(element.id)}`;
  for (const name of ["data-dialog", "href", "name"])
    if (element.hasAttribute(name)) return `${element.localName}[${name}="${CSS.escape(element.getAttribute(name))}"]`;
  return element.localName === "summary" ? "summary" : "";
}

function opened(part) {
  return [...part.querySelectorAll("details[open][id]")].map((d) => d.id);
}

function put(part, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  if (fresh.innerHTML === part.innerHTML) return;
  const focus = part.contains(document.activeElement) ? selector(document.activeElement) : "";
  const open = opened(part);
  const scrolled = [...part.querySelectorAll(".table-wrap")].map((e) => e.scrollLeft);
  part.replaceChildren(fresh.content);
  for (const id of open) part.querySelector(`#${CSS.escape(id)}`)?.setAttribute("open", "");
  [...part.querySelectorAll(".table-wrap")].forEach((e, i) => (e.scrollLeft = scrolled[i] ?? 0));
  if (focus) part.querySelector(focus)?.focus({ preventScroll: true });
  part.dispatchEvent(new CustomEvent("part", { bubbles: true }));
}

function show(id, html) {
  const part = document.getElementById(id);
  if (!part || !part.hasAttribute("data-part")) return;
  if (busy(part)) waiting.set(id, html);
  else {
    waiting.delete(id);
    put(part, html);
  }
}

function live(marker) {
  let source = null;
  let again = 0;
  let late = 0;
  let stopped = false;

  const state = (now) => {
    const set = () => {
      late = 0;
      marker.hidden = false;
      marker.dataset.state = now;
    };
    if (now === "off") late ||= setTimeout(set, CALM);
    else {
      clearTimeout(late);
      set();
    }
  };
  const close = () => {
    clearTimeout(again);
    source?.close();
    source = null;
  };
  const open = () => {
    if (source || document.visibilityState === "hidden") return;
    stopped = false;
    source = new EventSource(marker.dataset.live);
    source.addEventListener("open", () => state("on"));
    source.addEventListener("part", (e) => {
      const { id, html } = JSON.parse(e.data);
      show(id, html);
    });
    source.addEventListener("over", () => {
      stopped = true;
      close();
      state("off");
    });
    source.addEventListener("error", () => {
      state("off");
      if (!source || source.readyState !== EventSource.CLOSED) return; // else the browser comes back by itself
      close();
      again = setTimeout(open, RETRY * (0.5 + Math.random()));
    });
  };

  document.addEventListener("visibilitychange", () => (document.visibilityState === "hidden" ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", () => stopped || open());
  const rest = () => {
    for (const [id, html] of [...waiting]) show(id, html);
  };
  document.addEventListener("focusout", () => setTimeout(rest));
  document.addEventListener("close", () => setTimeout(rest), true);
  document.addEventListener("toggle", () => setTimeout(rest), true);
  open();
}

if (marker && "EventSource" in window) live(marker);
