// data-progress="path": this part of the page is asked for until it comes without the attribute; then the page is read anew.
const PAUSE = 700; // milliseconds

async function follow(part) {
  for (;;) {
    await new Promise((done) => setTimeout(done, document.hidden ? 3000 : PAUSE));
    let answer;
    try {
      answer = await fetch(part.dataset.progress, { headers: { Accept: "text/html" }, cache: "no-store" });
    } catch {
      continue;
    }
    if (answer.status >= 500) continue;
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").body.firstElementChild;
    if (!next) return;
    part.replaceWith(next);
    if (!next.dataset.progress) return location.reload();
    part = next;
  }
}

document.querySelectorAll("[data-progress]").forEach(follow);
