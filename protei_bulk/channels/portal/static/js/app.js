// Small comforts for every page. Without this file each page still works: it is loaded as a module, and only adds.
const root = document.documentElement;

const all = (selector, from = document) => [...from.querySelectorAll(selector)];

function drawer() {
  const button = document.querySelector("[data-drawer]");
  const side = document.getElementById("side");
  if (!button || !side) return;
  const set = (open) => {
    document.body.classList.toggle("drawer-open", open);
    button.setAttribute("aria-expanded", String(open));
    if (open) side.querySelector("a")?.focus();
    else if (side.contains(document.activeElement)) button.focus();
  };
  button.addEventListener("click", () => set(!document.body.classList.contains("drawer-open")));
  document.querySelector("[data-drawer-close]")?.addEventListener("click", () => set(false));
  document.addEventListener("keydown", (e) => e.key === "Escape" && set(false));
}

function theme() {
  for (const button of all("[data-theme-set]"))
    button.addEventListener("click", () => {
      const to = button.dataset.themeSet;
      if (to === "auto") delete root.dataset.theme;
      else root.dataset.theme = to;
      const secure = location.protocol === "https:" ? "; Secure" : "";
      document.cookie = `protei_theme=${to}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
      for (const b of all("[data-theme-set]")) b.setAttribute("aria-pressed", String(b === button));
    });
}

// <button data-dialog="id"> opens <dialog id>; a form in it is sent as any form is.
function dialogs() {
  document.addEventListener("click", (e) => {
    const opener = e.target.closest("[data-dialog]");
    if (opener) {
      const dialog = document.getElementById(opener.dataset.dialog);
      if (dialog) {
        e.preventDefault();
        dialog.showModal();
      }
    }
    const closer = e.target.closest("[data-close]");
    if (closer) closer.closest("dialog")?.close();
    for (const menu of all("details.menu-pop[open]")) if (!menu.contains(e.target)) menu.open = false;
  });
  document.addEventListener("keydown", (e) => {
    if (e.key !== "Escape") return;
    for (const menu of all("details.menu-pop[open]")) {
      menu.open = false;
      menu.querySelector("summary")?.focus();
    }
  });
}

function copies() {
  for (const button of all("[data-copy]"))
    button.addEventListener("click", async () => {
      const text = document.getElementById(button.dataset.copy)?.textContent.trim() ?? "";
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        const range = document.createRange();
        range.selectNodeContents(document.getElementById(button.dataset.copy));
        getSelection().removeAllRanges();
        getSelection().addRange(range);
        return;
      }
      const before = button.textContent;
      button.textContent = button.dataset.copied ?? before;
      setTimeout(() => (button.textContent = before), 1500);
    });
}

function printing() {
  for (const button of all("[data-print]")) button.addEventListener("click", () => window.print());
}

// A form is sent once: a second press does nothing until the answer came.
function once() {
  document.addEventListener("submit", (e) => {
    const form = e.target;
    if (form.method === "dialog" || e.defaultPrevented) return;
    if (form.dataset.sent) {
      e.preventDefault();
      return;
    }
    form.dataset.sent = "1";
    setTimeout(() => delete form.dataset.sent, 8000);
  });
  window.addEventListener("pageshow", () => all("form[data-sent]").forEach((f) => delete f.dataset.sent));
}

// <select data-submit> sends its form when it changes; the button for those without scripts is hidden.
function filters() {
  for (const control of all("[data-submit]")) control.addEventListener("change", () => control.form.requestSubmit());
  for (const button of all("[data-noscript]")) button.hidden = true;
}

// What was typed is kept in this tab until it is sent: a session that ended loses no draft.
function drafts() {
  for (const form of all("form[data-draft]")) {
    const key = `draft:${form.dataset.draft}`;
    const fields = () => all("input[name]:not([type=hidden], [type=password], [type=file]), textarea[name], select[name]", form);
    const saved = sessionStorage.getItem(key);
    if (saved && form.dataset.restore !== "no") {
      const values = JSON.parse(saved);
      for (const f of fields()) {
        if (!(f.name in values) || f.type === "radio" || f.type === "checkbox") continue;
        if (f.value === f.defaultValue || !f.value) f.value = values[f.name];
        f.dispatchEvent(new Event("input", { bubbles: true }));
      }
    }
    form.addEventListener("input", () => {
      const values = Object.fromEntries(fields().map((f) => [f.name, f.value]));
      try {
        sessionStorage.setItem(key, JSON.stringify(values));
      } catch {
        /* full: the server's own draft stays */
      }
    });
    form.addEventListener("submit", () => sessionStorage.removeItem(key));
  }
}

// A table that is wider than its place scrolls: by keyboard too.
function scrolls() {
  const set = (wrap) => {
    const wide = wrap.scrollWidth > wrap.clientWidth + 1;
    wrap.toggleAttribute("tabindex", wide);
    if (!wide) return;
    wrap.tabIndex = 0;
    wrap.setAttribute("role", "group");
    const title = wrap.closest("section, .card")?.querySelector("h2") ?? document.querySelector("h1");
    if (title) wrap.setAttribute("aria-label", title.textContent.trim());
  };
  const watch = new ResizeObserver((seen) => seen.forEach((entry) => set(entry.target)));
  for (const wrap of all(".table-wrap")) watch.observe(wrap);
}

drawer();
theme();
dialogs();
copies();
printing();
once();
filters();
drafts();
scrolls();
document.querySelector("[data-focus]")?.focus();
