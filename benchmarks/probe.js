// For benchmarks/label.py: when a key is pressed, and when the page shows what it did.
window.probe = (() => {
  const grid = () => document.querySelector(".gnl");
  const saved = () => grid().querySelector(".gnl-saved").dataset.status === "saved";
  const cursor = () => grid().querySelector(".gnl-cursor");
  const WORDS = { r: "real", b: "bogus", u: "unsure" };

  // A message that is sent when a frame begins arrives when it has been painted.
  const frame = () => new Promise((done) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(null);
  }));

  async function until(ready) {
    while (!ready()) await frame();
  }

  // Until the page's picture is decoded and painted.
  async function pictured() {
    const style = grid().querySelector(".gnl-tile .gnl-picture").style;
    const picture = new Image();
    picture.src = style.backgroundImage.slice(5, -2);
    await picture.decode();
    return frame();
  }

  async function open(tiles) {
    const start = performance.now();
    window.jupyterapp.commands.execute("notebook:run-cell");
    await until(() => document.querySelectorAll(".gnl-tile").length === tiles);
    return (await pictured()) - start;
  }

  async function turned(start, from) {
    await until(() => grid().dataset.page !== from);
    return (await pictured()) - start;
  }

  const keys = [];
  async function onKey(event) {
    const start = event.timeStamp;
    const one = { key: event.key, wall: Date.now() - (performance.now() - start) };
    const [tile, page] = [cursor(), grid().dataset.page];
    keys.push(one);
    one.id = tile.dataset.id;
    if (event.key === "n") {
      one.turned = await turned(start, page);
      return;
    }
    one.painted = (await frame()) - start;
    one.right = tile.dataset.label === WORDS[event.key];
    await until(saved);
    one.saved = performance.now() - start;
  }
  window.addEventListener("keydown", onKey, true);

  // Labels as fast as one loop can send the keys for them.
  async function burst(n) {
    window.removeEventListener("keydown", onKey, true);
    const press = (key) => grid().dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    const acts = [];
    const start = performance.now();
    press("Home");
    while (acts.length < n) {
      const key = "rbu"[acts.length % 3];
      const tile = cursor();
      acts.push([tile.dataset.id, WORDS[key]]);
      press(key);
      if (!cursor()) press("Home"); // it went past the last tile
    }
    const sent = performance.now() - start;
    await until(saved);
    return { acts, sent, saved: performance.now() - start };
  }
  return { keys, open, burst };
})();
