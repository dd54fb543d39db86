// A file with recipients: sent in pieces that go on where they stopped, looked into by the server, its columns named by the reader.
// <div data-upload> of macros/upload.html; the fields "upload" and "mapping" of its form say what was chosen.
const AT_ONCE = 2; // pieces on their way
const TRIES = 8;
const POLL = 400; // milliseconds

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

class Problem extends Error {}

class Widget {
  constructor(root) {
    this.root = root;
    this.texts = root.dataset;
    this.id = root.querySelector("[name=upload]");
    this.mapping = root.querySelector("[name=mapping]");
    this.file = root.querySelector("input[type=file]");
    this.preview = null;
    this.run = 0; // which file this is about: another one ends what was begun for the last
    this.file.addEventListener("change", () => this.file.files[0] && this.send(this.file.files[0]));
    this.part("remove").addEventListener("click", () => this.remove());
    this.part("again").addEventListener("click", () => this.again());
    this.part("columns").addEventListener("input", (e) => {
      if (e.target.closest("[data-part=form]")) return;
      this.write();
      this.changed();
    });
    this.dropping();
    if (this.id.value) this.show(this.id.value);
  }

  part(name) {
    return this.root.querySelector(`[data-part=${name}]`);
  }

  dropping() {
    const place = this.part("drop");
    let depth = 0;
    const over = (n) => place.classList.toggle("over", (depth = n) > 0);
    place.addEventListener("dragenter", (e) => (e.preventDefault(), over(depth + 1)));
    place.addEventListener("dragover", (e) => e.preventDefault());
    place.addEventListener("dragleave", () => over(depth - 1));
    place.addEventListener("drop", (e) => {
      e.preventDefault();
      over(0);
      if (e.dataTransfer.files[0]) this.send(e.dataTransfer.files[0]);
    });
  }

  // --- what is seen

  state(name) {
    this.part("drop").hidden = name !== "none";
    this.part("progress").hidden = name === "none";
    this.part("meter").hidden = name !== "busy";
    this.part("columns").hidden = name !== "ready";
    this.root.setAttribute("aria-busy", String(name === "busy"));
  }

  say(text, done, of) {
    this.part("status").textContent = text;
    const meter = this.part("meter");
    if (of) [meter.max, meter.value] = [of, done];
    else meter.removeAttribute("value");
  }

  fail(text) {
    const error = this.part("error");
    error.hidden = !text;
    error.textContent = text ?? "";
  }

  // --- requests

  async ask(method, path, body, type) {
    const headers = { "X-CSRF-Token": this.texts.csrf, Accept: "application/json" };
    if (type) headers["Content-Type"] = type;
    const answer = await fetch(path, { method, body, headers, cache: "no-store" });
    if (answer.status === 401 || answer.redirected) throw new Problem(this.texts.over);
    const said = (answer.headers.get("content-type") ?? "").startsWith("application/json") ? await answer.json() : {};
    if (answer.status >= 500 || answer.status === 429) throw new TypeError(String(answer.status)); // as a network that fails: again
    if (!answer.ok) throw new Problem(said.text ?? this.texts.failed);
    return said;
  }

  async patiently(...request) {
    for (let n = 1; ; n++)
      try {
        return await this.ask(...request);
      } catch (error) {
        if (error instanceof Problem || n >= TRIES) throw error instanceof Problem ? error : new Problem(this.texts.failed);
        await wait(Math.min(10000, 300 * 2 ** n));
      }
  }

  // --- a file

  async send(file) {
    const run = ++this.run;
    this.fail();
    this.state("busy");
    this.part("name").textContent = file.name;
    this.say(this.texts.sending, 0, 1);
    try {
      const upload = await this.begin(file);
      if (upload.state === "open") {
        await this.pieces(file, upload, run);
        if (run !== this.run) return;
        await this.patiently("POST", `/uploads/${upload.id}/done`);
      }
      this.say(this.texts.reading);
      await this.ready(upload.id, run);
    } catch (error) {
      if (run === this.run) this.broken(error);
    }
    this.file.value = "";
  }

  // One that was begun before with this very file goes on.
  async begin(file) {
    const key = `upload:${file.name}:${file.size}:${file.lastModified}`;
    const known = sessionStorage.getItem(key);
    if (known)
      try {
        const found = await this.ask("GET", `/uploads/${known}`);
        if (found.state !== "refused") return found;
      } catch {
        /* it is gone */
      }
    const upload = await this.patiently("POST", "/uploads", JSON.stringify({ name: file.name, size: file.size }), "application/json");
    sessionStorage.setItem(key, upload.id);
    this.started = upload.id;
    return upload;
  }

  async pieces(file, upload, run) {
    const there = new Set(upload.received);
    const missing = [...Array(upload.pieces).keys()].filter((n) => !there.has(n));
    let done = upload.pieces - missing.length;
    const one = async () => {
      while (missing.length && run === this.run) {
        const n = missing.shift();
        const piece = file.slice(n * upload.piece, (n + 1) * upload.piece);
        await this.patiently("PUT", `/uploads/${upload.id}/${n}`, piece, "application/octet-stream");
        if (run === this.run) this.say(this.texts.sending, ++done, upload.pieces);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, one));
  }

  async ready(id, run, before = "") {
    for (;;) {
      const found = await this.patiently("GET", `/uploads/${id}`);
      if (run !== this.run) return;
      if (found.state === "refused") throw new Problem(found.text);
      if (found.state === "ready") {
        this.id.value = id;
        this.columns(found);
        if (this.mapping.value !== before) this.changed(); // what was stored already is not typed again
        return;
      }
      this.part("name").textContent = found.name;
      this.say(this.texts.reading);
      await wait(POLL);
    }
  }

  broken(error) {
    this.state("none");
    this.id.value = this.mapping.value = "";
    this.fail(error instanceof Problem ? error.message : this.texts.failed);
  }

  // What was uploaded before, as it was mapped.
  async show(id) {
    const run = ++this.run;
    const before = this.mapping.value;
    this.state("busy");
    this.say(this.texts.reading);
    try {
      await this.ready(id, run, before);
    } catch (error) {
      if (run === this.run) this.broken(error);
    }
  }

  async again() {
    const run = ++this.run;
    const wanted = { delimiter: this.part("delimiter").value, encoding: this.part("encoding").value, sheet: Number(this.part("sheet").value || 0) };
    this.state("busy");
    this.say(this.texts.reading);
    try {
      this.root.dataset.mapping = "";
      await this.patiently("POST", `/uploads/${this.id.value}/preview`, JSON.stringify(wanted), "application/json");
      await this.ready(this.id.value, run);
    } catch (error) {
      if (run === this.run) this.broken(error);
    }
  }

  remove() {
    const id = this.id.value || this.started;
    this.run++;
    if (id) this.ask("POST", `/uploads/${id}/remove`).catch(() => {});
    this.id.value = this.mapping.value = this.root.dataset.mapping = "";
    this.state("none");
    this.fail();
    this.changed();
    this.file.focus();
  }

  // --- its columns

  columns(upload) {
    const preview = (this.preview = upload.preview);
    this.part("name").textContent = upload.name;
    this.say(this.texts.rows.replace("{rows}", new Intl.NumberFormat(document.documentElement.lang).format(preview.rows_estimated - (preview.header ? 1 : 0))));
    const given = JSON.parse(this.root.dataset.mapping || "null");
    const chosen = given && given.number >= 0 ? given : preview.mapping;
    const body = this.part("rows");
    body.replaceChildren(
      ...preview.columns.map((column, n) => {
        const row = this.root.querySelector("template").content.cloneNode(true).firstElementChild;
        const at = (name) => row.querySelector(`[data-cell=${name}]`);
        at("title").textContent = column.name || `${this.texts.column} ${n + 1}`;
        at("samples").replaceChildren(...this.samples(column.samples));
        const name = Object.entries(chosen.variables).find(([, at]) => at === n)?.[0];
        const use = at("use");
        use.value = chosen.number === n ? "number" : name !== undefined ? "variable" : "";
        use.setAttribute("aria-label", `${this.texts.use}: ${at("title").textContent}`);
        use.addEventListener("change", () => this.onlyOne(use));
        at("variable").value = name ?? column.variable;
        at("variable").setAttribute("aria-label", `${this.texts.variable}: ${at("title").textContent}`);
        return row;
      }),
    );
    this.part("header").checked = chosen.header;
    this.part("delimiter").closest(".field").hidden = this.part("encoding").closest(".field").hidden = preview.kind !== "text";
    this.part("delimiter").value = preview.delimiter || ",";
    this.part("encoding").value = preview.encoding || "utf-8";
    const sheet = this.part("sheet");
    sheet.replaceChildren(...preview.sheets.map((name, n) => new Option(name, n)));
    sheet.value = preview.sheet;
    sheet.closest(".field").hidden = preview.sheets.length < 2;
    this.part("form").hidden = preview.kind !== "text" && preview.sheets.length < 2;
    this.part("damaged").hidden = !preview.damaged;
    this.state("ready");
    this.write();
  }

  // Each in its own direction.
  samples(given) {
    const shown = given.filter(Boolean).slice(0, 3);
    return shown.length
      ? shown.flatMap((text, n) => {
          const one = document.createElement("bdi");
          one.textContent = text;
          return n ? [" · ", one] : [one];
        })
      : ["–"];
  }

  onlyOne(changed) {
    if (changed.value === "number")
      for (const other of this.part("rows").querySelectorAll("[data-cell=use]")) if (other !== changed && other.value === "number") other.value = "";
  }

  write() {
    const variables = {};
    let number = -1;
    let fault = "";
    [...this.part("rows").children].forEach((row, n) => {
      const use = row.querySelector("[data-cell=use]").value;
      const field = row.querySelector("[data-cell=variable]");
      field.hidden = use !== "variable";
      if (use === "number") number = n;
      if (use !== "variable") return;
      const name = field.value.trim();
      const right = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/.test(name) && !(name in variables);
      field.setAttribute("aria-invalid", String(!right));
      if (right) variables[name] = n;
      else fault = this.texts.badname;
    });
    if (number < 0) fault = this.texts.nonumber;
    this.fail(fault);
    const { delimiter, encoding, sheet } = this.preview;
    const country = this.root.dataset.country ?? "";
    this.mapping.value = JSON.stringify({ header: this.part("header").checked, number, variables, country, delimiter, encoding, sheet });
  }

  changed() {
    for (const name of ["input", "change"]) this.mapping.dispatchEvent(new Event(name, { bubbles: true }));
  }
}

for (const root of document.querySelectorAll("[data-upload]")) new Widget(root);
