// The label grid. All state lives in Python; here is only what is on its way there.
// It follows surroundings.js and layout.js in one module.
const LETTERS = { real: "R", bogus: "B", unsure: "?" };
const LOOK_KEYS = { s: "stretch", c: "colors", t: "planes" };
const KEYS = { r: "real", b: "bogus", u: "unsure" };
const WORDS = { real: "real", bogus: "bogus", unsure: "unsure" };
const MOVES = [
  "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", "n", "p", "PageDown", "PageUp",
];
const REST = 250; // ms that the cursor rests before its surroundings are asked for
const PATIENCE = 5000; // ms without an answer after which the page says so, and sends again

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  let cursor = 0;
  let seq = 0;
  let queue = []; // acts not yet sent
  let sent = []; // acts sent and not yet answered
  let sentAt = 0;
  let triedAt = 0; // when they were sent the last time
  let failed = new Map(); // candidate -> why its label was not saved
  // Where a person was is not where the page opens: labelled ones may come last now.
  let note = (model.get("fresh") && model.get("page_state").opening) || "";
  let gone = false; // the kernel: another one knows nothing of this grid
  let refused = ""; // why Python did not understand a message
  let url = null;

  const root = make("div", "gnl", el);
  root.tabIndex = 0;
  root.setAttribute("aria-label", "Label grid");
  // JupyterLab runs its shortcuts for keys typed in an output: this asks it not to.
  root.dataset.lmSuppressShortcuts = "true";
  const head = make("div", "gnl-head", root);
  const previous = make("button", "gnl-button", head, "◀ p");
  const where = make("span", "gnl-where", head);
  const next = make("button", "gnl-button", head, "n ▶");
  const counts = make("span", "gnl-counts", head);
  const saved = make("span", "gnl-saved", head);
  saved.setAttribute("role", "status");
  // One line says what the keys do, or that they do nothing as yet.
  const ready = make("div", "gnl-ready", root);
  const brief = make("span", "gnl-brief", ready);
  make("span", "gnl-hint", ready, "click here, then keys work");
  const advice = make("div", "gnl-advice", root);
  advice.setAttribute("role", "alert");
  const room = make("div", "gnl-room", root);
  const grid = make("div", "gnl-grid", room);
  grid.setAttribute("role", "listbox");
  const below = make("div", "gnl-below", room);
  const views = make("div", "gnl-views", below);
  const large = make("div", "gnl-large", views);
  const largePicture = make("div", "gnl-picture", large);
  const field = make("div", "gnl-field", views);
  field.style.visibility = "hidden";
  const wider = make("img", "gnl-wider", field);
  wider.alt = "science, reference and difference, four times as wide";
  // Where the candidate is, in each of the planes.
  for (const share of [1, 3, 5]) make("div", "gnl-mark", field).style.left = `${(100 * share) / 6}%`;
  const words = make("div", "gnl-words", below);
  const largeText = make("div", "gnl-large-text", words);
  const around = make("div", "gnl-around", words);
  const aroundText = make("div", "gnl-around-text", around);
  const light = make("div", "gnl-light", around);
  const elsewhere = make("div", "gnl-elsewhere", around);
  let asked = null; // the candidate whose surroundings are shown or on their way
  let resting = 0;
  let widerUrl = null;
  const keys = [
    ["click, space", "real ⇄ bogus"], ["drag", "the same for several"],
    ["r", "real"], ["b", "bogus"], ["u", "unsure"], ["x", "clear"],
    ["⇧ r b u", "all unlabelled on the page"], ["z", "undo"],
    ["← ↑ → ↓", "move"], ["n p", "pages"], ["s", "stretch"], ["c", "colours"],
    ["t", "planes"], ["i", "numbers"], ["h", "this help"], ["Esc", "back to the notebook", "gnl-lab"],
  ];
  for (const [name, word] of keys.slice(2, 6)) brief.append(key(name), ` ${word} `);
  brief.append(key("n"), " next page ", key("z"), " undo ", key("h"), " all keys");
  const list = make("div", "gnl-keys", root);
  list.setAttribute("role", "dialog");
  list.setAttribute("aria-label", "keys");
  for (const [name, word, where = ""] of keys) {
    make("span", `gnl-keys-name ${where}`, list)
      .append(...name.split(" ").flatMap((k) => [key(k), " "]));
    make("span", where, list, word);
  }

  function key(name) {
    return make("kbd", "gnl-key", null, name);
  }

  const state = () => model.get("page_state");
  const tiles = () => state().tiles;
  // After the last tile is labelled: another key shall not label it again.
  const ended = () => tiles().length > 0 && cursor === tiles().length;
  const unsaved = () => [...sent, ...queue];

  const waiting = new Map(); // tile -> its acts that are not saved, and the last's label

  // The label on screen: the last one on its way, else the one that is on disk.
  function current(tile) {
    return waiting.has(tile.id) ? waiting.get(tile.id).label : tile.label;
  }

  function place(picture, index) {
    const columns = state().n_columns;
    const rows = Math.max(1, Math.ceil(tiles().length / columns));
    const share = (i, n) => (n > 1 ? (100 * i) / (n - 1) : 0);
    picture.style.backgroundImage = url ? `url(${url})` : "none";
    picture.style.backgroundSize = `${100 * columns}% ${100 * rows}%`;
    picture.style.backgroundPosition =
      `${share(index % columns, columns)}% ` +
      `${share(Math.floor(index / columns), rows)}%`;
  }

  function rebuild() {
    if (url) URL.revokeObjectURL(url);
    const atlas = model.get("atlas");
    url = atlas && atlas.byteLength
      ? URL.createObjectURL(new Blob([atlas], { type: "image/png" }))
      : null;
    grid.replaceChildren();
    tiles().forEach((tile, index) => {
      const box = make("div", "gnl-tile", grid);
      box.dataset.index = index;
      box.dataset.id = tile.id;
      box.title = titleOf(tile);
      box.setAttribute("role", "option");
      place(make("div", "gnl-picture", box), index);
      make("span", "gnl-badge", box);
      make("div", "gnl-caption", box, tile.caption);
    });
    if (!tiles().length) make("div", "gnl-empty", grid, "no candidates to label");
    cursor = Math.min(cursor, tiles().length);
    root.dataset.page = state().page;
    // A page like the last one is laid out like it: asking for the room takes time.
    if (laidFor !== layoutOf()) fit();
    paint();
  }

  const bare = () => root.classList.contains("gnl-bare");
  const titleOf = (tile) => (bare() ? tile.name : `${tile.name}\n${tile.caption}`);

  function showNumbers() {
    root.classList.toggle("gnl-bare");
    tiles().forEach((tile, index) => { grid.children[index].title = titleOf(tile); });
    fit();
  }

  let laidFor = "";
  const captioned = () => !bare() && tiles().some((tile) => tile.caption);
  const layoutOf = () => {
    const { n_columns, n_rows, n_planes, side } = state();
    return [n_columns, n_rows, n_planes, side, captioned()].join();
  };

  function fit() {
    laidFor = layoutOf();
    const pane = root.closest(".jp-NotebookPanel .jp-WindowedPanel-outer");
    const { n_columns: columns, n_rows: rows, n_planes: planes, side } = state();
    const laid = layOut({
      width: room.clientWidth - 14,
      height: (pane ? pane.clientHeight : window.innerHeight) - room.offsetTop - 24,
      pixels: side / (window.devicePixelRatio || 1), columns, rows, planes,
      around: state().context, captions: captioned(),
    });
    root.classList.toggle("gnl-beside", laid.beside);
    grid.classList.toggle("gnl-smooth", laid.scale < 2);
    grid.style.gridTemplateColumns = `repeat(${columns}, ${laid.tile}px)`;
    root.style.setProperty("--gnl-picture", `${laid.picture}px`);
    root.style.setProperty("--gnl-field", `${3 * laid.large}px`);
    large.style.width = `${laid.shown}px`;
  }

  // Only tiles that changed: most keys change two of them.
  function paint() {
    tiles().forEach((tile, index) => {
      const box = grid.children[index];
      const pending = waiting.has(tile.id);
      const status = failed.has(tile.id) ? "failed" : pending ? "waiting" : "saved";
      const look = [current(tile) || "", tile.human || pending, status, index === cursor];
      if (box.look !== look.join()) paintTile(box, tile, ...look);
      box.look = look.join();
    });
    paintHead();
    paintLarge();
  }

  function paintTile(box, tile, label, human, status, here) {
    box.dataset.label = label;
    box.dataset.origin = label ? (human ? "human" : "auto") : "";
    box.dataset.status = status;
    box.classList.toggle("gnl-cursor", here);
    box.setAttribute("aria-selected", here);
    box.setAttribute("aria-label", `${tile.name}, ${WORDS[label] || "no label"}, ${status}`);
    box.querySelector(".gnl-badge").textContent =
      (LETTERS[label] || "") + (status === "waiting" ? "…" : status === "failed" ? "!" : "");
  }

  const inNotebook = () => root.closest(".jp-NotebookPanel");

  function paintHead() {
    root.style.setProperty("--gnl-planes", state().n_planes);
    const { page, n_pages, counts: n, labeler } = state();
    where.textContent = `page ${Math.min(page + 1, n_pages)} of ${n_pages}`;
    counts.textContent =
      `real ${n.real} · bogus ${n.bogus} · unsure ${n.unsure} · ` +
      `unlabelled ${n.unlabeled} | ${n.human} by ${labeler}`;
    let nWaiting = held.length + unsaved().filter((act) => act.do === "undo").length;
    for (const { n } of waiting.values()) nWaiting += n;
    root.toggleAttribute("data-unsaved", nWaiting > 0); // the served page asks for it
    const late = sent.length && Date.now() - sentAt > PATIENCE;
    const last = page + 1 >= n_pages;
    const end = last ? "end of the last page" : "end of the page: n for the next";
    const whom = inNotebook() ? "kernel" : "server";
    let text = note || (ended() ? end : "all saved");
    if (nWaiting) text = `${nWaiting} not saved yet`;
    if (gone) text = `the kernel is gone${nWaiting ? `: ${nWaiting} not saved` : ""}`;
    else if (late) text = `no answer from the ${whom}: ${nWaiting} not saved`;
    if (refused) text = `NOT DONE: ${refused}`;
    if (failed.size) text = `${failed.size} NOT SAVED: ${[...failed.values()].pop()}`;
    saved.textContent = text;
    saved.dataset.status =
      failed.size || late || gone || refused ? "failed" : nWaiting ? "waiting" : "saved";
    advice.textContent = gone || late ? whatToDo() : "";
  }

  // What is shown as saved is on disk: nobody need fear to start again.
  function whatToDo() {
    const safe = "Everything shown as saved is on disk; what is not saved is marked …. ";
    // The address has the token of its server: the old one opens nothing any more.
    if (!inNotebook()) return safe + "Start gmadet-nb label again and open its new address.";
    return safe + (gone ? "" : "A busy kernel answers later; if it is gone, ") +
      (gone ? "Run the cells again" : "restart it and run the cells again") +
      " (menu Run, Run All Cells).";
  }

  // Only when the cursor rests: the frames are read from disk.
  function askAround(tile) {
    around.style.display = state().context ? "" : "none";
    if (around.style.display) field.style.display = "none";
    if (!state().context || tile.id === asked) return;
    asked = tile.id;
    below.dataset.around = "old"; // those on the page are another candidate's
    clearTimeout(resting);
    resting = setTimeout(() => model.send({ view, ask: tile.id }), REST);
  }

  function showAround(about, buffers) {
    const tile = tiles()[cursor];
    if (!tile || tile.name !== about.id) return;
    if (widerUrl) URL.revokeObjectURL(widerUrl);
    widerUrl = buffers && buffers.length
      ? URL.createObjectURL(new Blob([buffers[0]], { type: "image/png" }))
      : null;
    field.style.display = widerUrl ? "" : "none";
    field.style.visibility = "";
    if (widerUrl) wider.src = widerUrl;
    below.dataset.around = "new";
    aroundText.replaceChildren();
    for (const line of about.lines) make("div", "", aroundText, line);
    drawLight(light, about.history, about.exposure_id);
    writeNeighbours(elsewhere, about.neighbours, about.link);
  }

  function paintLarge() {
    const tile = tiles()[cursor];
    below.style.visibility = tile ? "" : "hidden";
    if (!tile) {
      clearTimeout(resting);
      asked = null; // back on the last tile, it is asked for again
      return;
    }
    askAround(tile);
    place(largePicture, cursor);
    const label = current(tile);
    largeText.replaceChildren();
    const { stretch, colors, planes } = state().look;
    make("div", "gnl-planes", largeText,
      `${planes === "all" ? "science | reference | difference" : planes}, ` +
      `stretch ${stretch}, colours ${colors}`);
    make("b", "", largeText, tile.name);
    make("div", "gnl-numbers", largeText, tile.caption.replaceAll("\n", " · "));
    make("div", "", largeText, label
      ? `${label}${grid.children[cursor].dataset.origin === "auto" ? " (automatic)" : ""}`
      : "no label");
  }

  function push(act) {
    note = refused = "";
    queue.push({ seq: ++seq, ...act });
    if (act.do === "label") {
      const n = waiting.get(act.id)?.n || 0;
      waiting.set(act.id, { n: n + 1, label: act.label });
    }
    pump();
    paint();
  }

  // An act that was answered waits no longer; a later one on the same tile may.
  function settle(act) {
    const held = waiting.get(act.id);
    if (act.do === "label" && --held.n === 0) waiting.delete(act.id);
  }

  // One message at a time: the kernel may answer a later one first (subshells).
  function pump() {
    if (sent.length || !queue.length) return;
    sent = queue.splice(0, 200);
    sentAt = Date.now();
    deliver();
  }

  function deliver() {
    triedAt = Date.now();
    try {
      model.send({ view, acts: sent });
    } catch (error) {
      console.warn("No kernel takes the labels.", error); // they are sent again
    }
  }

  // What was under way when a connection broke is lost; Python does no act twice.
  function sendAgain() {
    if (!sent.length) return;
    if (Date.now() - triedAt > PATIENCE) {
      asked = null;
      deliver();
    }
    paintHead();
  }

  // What has the same press is taken back by one undo, also after a restart.
  function label(index, value, press) {
    const tile = tiles()[index];
    if (!tile) {
      note = ""; // the end of the page is said instead
      return paintHead();
    }
    failed.delete(tile.id);
    push({ do: "label", id: tile.id, label: value, ...(press && { press }) });
  }

  function flip(index, press) {
    const tile = tiles()[index];
    label(index, tile && current(tile) === "real" ? "bogus" : "real", press);
  }

  // Only what a person said, or is about to, can be cleared.
  function clear(tile) {
    const own = tile && (waiting.get(tile.id) || { label: tile.human }).label;
    if (!tile || own) return label(cursor, null);
    failed.delete(tile.id);
    note = "nothing to clear";
    paint();
  }

  let presses = 0;
  const newPress = () => `${view}-${++presses}`;

  function sayHow(n, value) {
    note = `${n} labelled ${value}: z takes ${n === 1 ? "it" : "them"} back`;
    paintHead();
  }

  // All on the page that nobody and nothing has labelled; automatic labels stay.
  function fill(value) {
    const open = tiles().flatMap((tile, index) => (current(tile) ? [] : [index]));
    const press = newPress();
    for (const index of open) label(index, value, press);
    if (open.length) return sayHow(open.length, value);
    note = "nothing is unlabelled on this page";
    paintHead();
  }

  list.addEventListener("click", () => root.classList.remove("gnl-all-keys"));

  function move(to, most = tiles().length - 1) {
    cursor = Math.max(0, Math.min(most, to));
    const box = grid.children[cursor];
    if (box) box.scrollIntoView({ block: "nearest" });
    paint();
  }

  // From past the last tile, an arrow leads back to it.
  function step(by) {
    move(ended() ? tiles().length - 1 : cursor + by);
  }

  function turn(step) {
    const page = state().page + step;
    if (page < 0 || page >= state().n_pages) {
      note = step > 0 ? "this is the last page" : "this is the first page";
      paint();
    } else if (!moving()) {
      cursor = 0;
      push({ do: "page", page });
    }
  }

  // A page or an undo under way moves the cursor when it is answered.
  const moving = () => unsaved().some((act) => act.do === "page" || act.do === "undo");
  const held = []; // keys that wait for it, so that they reach the tile they are meant for

  function onKey(event) {
    // Nothing typed here may reach the notebook: there x cuts a cell, 0 0 restarts.
    event.stopPropagation();
    if (event.type !== "keydown" || event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!(name in DEEDS)) return;
    event.preventDefault();
    // A key that is held moves on; it labels, or takes back, once.
    if (event.repeat && !MOVES.includes(name)) return;
    if (!moving()) press(name, event.shiftKey);
    else if (!event.repeat) {
      held.push([name, event.shiftKey]);
      paintHead();
    }
  }

  // The help lies over the tiles: any key takes it away, and does nothing to them.
  function press(name, shift) {
    if (root.classList.contains("gnl-all-keys")) root.classList.remove("gnl-all-keys");
    else DEEDS[name](shift);
  }

  const DEEDS = {
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    ArrowDown: () => step(state().n_columns),
    ArrowUp: () => step(-state().n_columns),
    Home: () => move(0),
    End: () => move(tiles().length - 1),
    n: () => turn(1),
    PageDown: () => turn(1),
    p: () => turn(-1),
    PageUp: () => turn(-1),
    z: () => push({ do: "undo" }),
    h: () => root.classList.add("gnl-all-keys"),
    i: showNumbers,
    // Back to the cell of the notebook, whose keys work then.
    Escape: () => root.closest(".jp-NotebookPanel .jp-Cell")?.focus(),
    " ": () => flip(cursor),
    x: () => clear(tiles()[cursor]),
  };
  for (const [name, part] of Object.entries(LOOK_KEYS)) {
    DEEDS[name] = () => push({ do: "look", part });
  }
  for (const [name, value] of Object.entries(KEYS)) {
    DEEDS[name] = (shift) => {
      if (shift) return fill(value);
      label(cursor, value);
      move(cursor + 1, tiles().length);
    };
  }

  // Python did nothing of what was sent, and never will.
  function refuse(message) {
    refused = message.error;
    if (message.acts) {
      for (const act of sent) {
        settle(act);
        if (act.do === "label") failed.set(act.id, refused);
      }
      sent = [];
      pump();
    }
    paint();
  }

  function onAnswer(message, buffers) {
    if (message && message.about && message.view === view) {
      showAround(message.about, buffers);
      return;
    }
    if (message && message.error && (message.view ?? view) === view) {
      refuse(message);
      return;
    }
    if (!message || !message.results) return;
    // An answer that comes a second time is to acts that wait no more.
    if (message.view === view && message.results[0]?.seq === sent[0]?.seq) {
      const undone = sent.some((act) => act.do === "undo");
      const labels = new Map(sent.map((act) => [act.seq, act]));
      sent.forEach(settle);
      sent = [];
      for (const result of message.results) {
        const act = labels.get(result.seq);
        if (!act) continue;
        if (result.error) failed.set(act.id || act.do, result.error);
        else failed.delete(act.id || act.do);
        if (act.do !== "undo" || result.error) continue;
        const n = result.ids.length;
        note = n > 1 ? `took back ${n} labels`
          : n ? `took back the label of ${result.ids[0].split("#")[0]}`
          : "nothing to undo";
      }
      if (undone) {
        const ids = message.results.flatMap((result) => result.ids);
        const index = tiles().findIndex((tile) => tile.id === ids[ids.length - 1]);
        if (index >= 0) cursor = index;
      }
      pump();
    }
    paint();
    while (held.length && !moving()) {
      const [name, shift] = held.shift();
      press(name, shift);
    }
  }

  for (const type of ["keydown", "keyup", "keypress"]) root.addEventListener(type, onKey);
  // A click anywhere gives the grid the focus; only one on a tile labels.
  root.addEventListener("mousedown", (event) => {
    if (event.button !== 0 || event.target.closest("a")) return;
    event.preventDefault();
    root.focus({ preventScroll: true });
  });
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));

  // Nobody is typing elsewhere: not in an editor, and not to another part of a notebook
  // than the cell that was run, or the next one, which JupyterLab goes on to.
  function isFree() {
    const now = document.activeElement;
    if (!now || now === document.body) return document.hasFocus();
    if (now.isContentEditable || now.matches("input, textarea, select, iframe")) return false;
    const cell = root.closest(".jp-Cell");
    const other = now.closest(".jp-Cell");
    return now.contains(root) || (cell && (other === cell || other === cell.nextElementSibling));
  }

  // The first time that it is shown, not when a page comes back with its kernel.
  const shown = new ResizeObserver(() => {
    if (!root.offsetWidth) return;
    fit();
    if (!model.get("fresh")) return;
    model.set("fresh", false);
    model.save_changes();
    if (isFree()) root.focus({ preventScroll: true });
  });
  shown.observe(root);
  window.addEventListener("resize", fit);
  // A click flips a tile; a drag gives what the first one got to all it passes.
  let dragged = null;
  const tileAt = (event) => event.target.closest(".gnl-tile");
  grid.addEventListener("mousedown", (event) => {
    const box = tileAt(event);
    // With Ctrl it is the right click of a Mac.
    if (event.button !== 0 || event.ctrlKey || !box) return;
    cursor = Number(box.dataset.index);
    const press = newPress();
    flip(cursor, press);
    dragged = { value: current(tiles()[cursor]), seen: new Set([cursor]), press };
  });
  grid.addEventListener("mouseover", (event) => {
    const box = tileAt(event);
    if (!box || !dragged) return;
    if (!(event.buttons & 1)) { dragged = null; return; }
    const index = Number(box.dataset.index);
    if (dragged.seen.has(index)) return;
    dragged.seen.add(index);
    cursor = index;
    label(index, dragged.value, dragged.press);
    sayHow(dragged.seen.size, dragged.value);
  });
  const drop = () => { dragged = null; };
  window.addEventListener("mouseup", drop);

  let page = null;
  const onState = () => {
    if (page !== state().page || grid.childElementCount !== Math.max(1, tiles().length)) {
      page = state().page;
      rebuild();
    } else paint();
  };
  model.on("change:page_state", onState);
  model.on("change:atlas", rebuild);
  model.on("msg:custom", onAnswer);
  const kernel = model.widget_manager?.kernel;
  const onStatus = (_, status) => {
    if (!["restarting", "autorestarting", "terminating", "dead"].includes(status)) return;
    gone = true;
    paintHead();
  };
  kernel?.statusChanged?.connect(onStatus);
  const clock = setInterval(sendAgain, 1000);
  onState();
  return () => {
    clearInterval(clock);
    shown.disconnect();
    window.removeEventListener("resize", fit);
    clearTimeout(resting);
    if (widerUrl) URL.revokeObjectURL(widerUrl);
    window.removeEventListener("mouseup", drop);
    model.off("change:page_state", onState);
    model.off("change:atlas", rebuild);
    model.off("msg:custom", onAnswer);
    kernel?.statusChanged?.disconnect(onStatus);
    if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
