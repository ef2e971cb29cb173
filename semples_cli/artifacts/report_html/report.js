"use strict";
// The gallery: filters and sorts what the data block holds, and keeps only the cards near the window in the page.
// Every text is set as text, every picture is a data URI of this file.
(() => {
  const CHUNK = 12; // cards that come and go together
  const AHEAD = "900px"; // how far from the window they are kept
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);

  function element(tag, className, text) {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  const percent = (share) => (100 * share).toFixed(1);

  // Light and dark

  const theme = byId("theme");
  const darkNow = matchMedia("(prefers-color-scheme: dark)");
  function showTheme() {
    const set = document.documentElement.dataset.theme;
    const dark = set ? set === "dark" : darkNow.matches;
    theme.textContent = dark ? "Light" : "Dark";
    theme.setAttribute("aria-pressed", String(dark));
    theme.setAttribute("aria-label", dark ? "Switch to light colours" : "Switch to dark colours");
    return dark;
  }
  theme.hidden = false;
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = showTheme() ? "light" : "dark";
    showTheme();
  });
  darkNow.addEventListener("change", showTheme);
  showTheme();

  const cards = byId("cards");
  if (!cards) return;

  const state = { class: "", order: 0, stages: false }; // what the controls say

  // What there is

  const classesOf = (image) => [...new Set([...image.classes, ...image.truth_classes, ...image.label_classes])].sort((a, b) => a - b);
  const has = (key) => data.images.some((image) => image[key] !== null);
  const hasPicture = (key) => data.images.some((image) => image.pictures[key]);
  const stageNames = [...new Set(data.images.flatMap((image) => Object.keys(image.pictures.stages ?? {})))];
  const panes = { image: "image", cams: "CAM", mask: "mask", overlay: "overlay", truth: "ground truth", error: "error" };
  const shownPanes = Object.keys(panes).filter((key) => key === "image" || key === "mask" || key === "overlay" || hasPicture(key));

  cards.style.setProperty("--panes", String(shownPanes.length));

  const orders = [];
  const by = (value, sign) => (a, b) => {
    const [x, y] = [value(a), value(b)];
    return (x === null) - (y === null) || sign * (x - y); // what is not known comes last
  };
  const score = (image) => image.score;
  const confidence = (image) => image.class_confidence[state.class] ?? image.confidence; // of the class looked for
  if (has("score")) orders.push(["worst first", by(score, 1)]);
  if (has("confidence")) orders.push(["least confident first", by(confidence, 1)]);
  if (has("score")) orders.push(["best first", by(score, -1)]);
  orders.push(["by name", () => 0]);
  const byName = (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

  // One card

  function picture(source, className, label) {
    const made = element("img", className);
    made.src = source;
    made.alt = label;
    made.decoding = "async";
    return made;
  }

  function layers(image, key, wanted) {
    const { pictures } = image;
    const alt = `${panes[key] ?? key} of ${image.id}`;
    const base = (className) => (pictures.image ? [picture(pictures.image, className, "")] : []);
    if (key === "image") return pictures.image ? [picture(pictures.image, "", alt)] : [];
    if (key === "overlay") return [...base(""), picture(pictures.mask, "mask over", alt)];
    if (key === "error") return pictures.error ? [...base("under"), picture(pictures.error, "mask", alt)] : [];
    if (key === "cams") {
      const maps = Object.entries(pictures.cams ?? {});
      const chosen = maps.filter(([index]) => Number(index) === wanted);
      if (!maps.length) return [];
      const heat = element("div", "heat");
      heat.append(...(chosen.length ? chosen : maps).map(([, source]) => picture(source, "", alt)));
      return [heat];
    }
    const source = key in panes ? pictures[key] : pictures.stages?.[key];
    return source ? [picture(source, "mask", alt)] : [];
  }

  function pane(image, key, caption, wanted) {
    const figure = element("figure", "pane");
    figure.dataset.pane = key;
    const frame = element("div", "frame");
    frame.style.setProperty("--ratio", String(image.thumbnail[1] / image.thumbnail[0]));
    const drawn = layers(image, key, wanted);
    if (drawn.length) frame.append(...drawn);
    else {
      frame.classList.add("empty");
      frame.textContent = "none";
    }
    const below = element("figcaption");
    below.append(element("bdi", "", caption));
    figure.append(frame, below);
    return figure;
  }

  function chip(index, image) {
    const known = data.classes[index];
    const made = element("span", image.classes.includes(index) ? "chip" : "chip absent");
    made.style.setProperty("--colour", known?.colour ?? "var(--soft)");
    made.append(element("bdi", "", known?.name ?? String(index)));
    const sure = image.class_confidence[index];
    if (sure !== undefined) made.title = `confidence ${percent(sure)} %`;
    if (!image.classes.includes(index)) made.title = "not in the mask";
    return made;
  }

  function figures(image) {
    const made = element("span", "figures");
    const parts = [["IoU", image.score], ["confidence", image.confidence], ["covered", image.coverage < 1 ? image.coverage : null]];
    parts.filter(([, share]) => share !== null).forEach(([name, share], number) => {
      made.append(`${number ? " · " : ""}${name} `, element("b", "", percent(share)));
    });
    return made;
  }

  function card(image) {
    const made = element("li", "card");
    const head = element("header");
    const chips = element("span", "chips");
    chips.append(...classesOf(image).map((index) => chip(index, image)));
    head.append(element("bdi", "id", image.id), chips, figures(image));
    const row = element("div", "panes");
    const wanted = Number(state.class);
    for (const key of shownPanes) {
      if (key === "mask" && state.stages) row.append(...stageNames.map((name) => pane(image, name, name, wanted)));
      row.append(pane(image, key, panes[key], wanted));
    }
    made.append(head, row);
    return made;
  }

  // The list: chunks of cards, filled as they come near the window and emptied as they leave it

  let shown = [];
  let usualHeight = 300; // of a card, until one was measured

  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? fill(target) : empty(target);
  }, { rootMargin: `${AHEAD} 0px` });

  function fill(chunk) {
    if (chunk.childElementCount) return;
    const first = Number(chunk.dataset.first);
    chunk.append(...shown.slice(first, first + CHUNK).map(card));
    chunk.style.minHeight = "";
    usualHeight = chunk.offsetHeight / chunk.childElementCount || usualHeight;
  }

  function empty(chunk) {
    if (!chunk.childElementCount) return;
    chunk.style.minHeight = `${chunk.offsetHeight}px`;
    chunk.replaceChildren();
  }

  function draw() {
    const wanted = Number(state.class);
    shown = data.images.filter((image) => !wanted || classesOf(image).includes(wanted));
    shown.sort((a, b) => orders[state.order][1](a, b) || byName(a, b));
    observer.disconnect();
    cards.replaceChildren();
    for (let first = 0; first < shown.length; first += CHUNK) {
      const chunk = element("ol", "chunk");
      chunk.dataset.first = String(first);
      chunk.start = first + 1;
      if (first === 0) {
        cards.append(chunk);
        fill(chunk); // tells the height of the others
      } else {
        chunk.style.minHeight = `${usualHeight * Math.min(CHUNK, shown.length - first)}px`;
        cards.append(chunk);
      }
      observer.observe(chunk);
    }
    // A list that changed is looked at from its beginning.
    if (cards.getBoundingClientRect().top < 0) byId("gallery").scrollIntoView({ behavior: "instant" });
    byId("shown").textContent = `${shown.length} of ${data.images.length} images`;
  }

  // The controls

  function options(select, entries) {
    select.append(...entries.map(([value, text]) => Object.assign(element("option", "", text), { value })));
  }

  const counts = new Map();
  for (const image of data.images) for (const index of classesOf(image)) counts.set(index, (counts.get(index) ?? 0) + 1);
  options(byId("class"), [
    ["", `all (${data.images.length})`],
    ...data.classes.filter(({ index }) => counts.has(index)).map(({ index, name }) => [String(index), `${name} (${counts.get(index)})`]),
  ]);
  options(byId("order"), orders.map(([name], number) => [String(number), name]));

  byId("class").addEventListener("change", ({ target }) => { state.class = target.value; draw(); });
  byId("order").addEventListener("change", ({ target }) => { state.order = Number(target.value); draw(); });
  byId("all-stages")?.addEventListener("change", ({ target }) => { state.stages = target.checked; draw(); });
  function showOpacity() {
    const { value } = byId("opacity");
    document.documentElement.style.setProperty("--opacity", String(value / 100));
    byId("opacity-value").textContent = `${value} %`;
  }
  byId("opacity").addEventListener("input", showOpacity);
  byId("bar").addEventListener("submit", (event) => event.preventDefault());
  byId("bar").reset(); // browsers keep controls over a reload, but not what they did
  byId("bar").hidden = false;
  showOpacity();
  draw();
})();
