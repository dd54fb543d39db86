// Live parts: <section data-live="/path"> listens to server-sent events. An event "html" carries {id: markup made by
// the server}, which replaces what stands in the element of that id; "done" ends it.
const template = document.createElement("template");

function start(section) {
  const mark = section.querySelector(".live");
  let source = null;
  let timer = 0;
  const open = () => {
    source = new EventSource(section.dataset.live);
    source.addEventListener("open", () => mark?.classList.remove("off"));
    source.addEventListener("html", (event) => {
      for (const [id, markup] of Object.entries(JSON.parse(event.data))) {
        const element = document.getElementById(id);
        if (!element || element.contains(document.activeElement)) continue;
        template.innerHTML = markup;
        element.replaceChildren(template.content);
      }
    });
    source.addEventListener("done", () => {
      source.close();
      mark?.classList.add("off");
      if (section.dataset.reload !== undefined) location.reload();
    });
    source.addEventListener("error", () => {
      mark?.classList.add("off");
      if (source.readyState === EventSource.CLOSED) {
        clearTimeout(timer);
        timer = setTimeout(open, 5000);
      }
    });
  };
  // A page in the background asks for nothing.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      source?.close();
    } else if (!source || source.readyState === EventSource.CLOSED) open();
  });
  if (!document.hidden) open();
}

for (const section of document.querySelectorAll("[data-live]")) start(section);
