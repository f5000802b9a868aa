// What surrounds a candidate, as text and as a drawing.
const SVG = "http://www.w3.org/2000/svg";

function make(tag, name, parent, text) {
  const element = document.createElement(tag);
  element.className = name;
  if (text !== undefined) element.textContent = text;
  if (parent) parent.append(element);
  return element;
}

function writeNeighbours(parent, neighbours, address) {
  parent.replaceChildren();
  if (neighbours.length) make("div", "gnl-planes", parent, "nearest to it:");
  for (const other of neighbours) {
    make("div", "", parent, `${other.candidate_id}, ${other.distance} pixels away`);
  }
  if (!address) return;
  const link = make("a", "", parent, "the sky there");
  link.href = address;
  link.target = "_blank";
  link.rel = "noopener noreferrer";
}

// Fluxes at the same place of the sky in order of time, with their errors.
function drawLight(light, history, exposure) {
  light.replaceChildren();
  if (history.length < 2) return;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 300 90");
  svg.setAttribute("role", "img");
  const low = Math.min(0, ...history.map((one) => one.flux - one.flux_err));
  const high = Math.max(0, ...history.map((one) => one.flux + one.flux_err));
  const y = (flux) => 82 - (74 * (flux - low)) / (high - low || 1);
  const x = (i) => 60 + (230 * i) / (history.length - 1);
  const draw = (name, attributes, text = "") => {
    const part = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) part.setAttribute(key, value);
    part.textContent = text;
    svg.append(part);
    return part;
  };
  draw("line", { x1: 50, x2: 300, y1: y(0), y2: y(0), class: "gnl-zero" });
  for (const flux of [0, high]) {
    draw("text", { x: 46, y: y(flux) + 4 }, flux ? flux.toPrecision(2) * 1 : "0");
  }
  history.forEach((one, i) => {
    draw("line", { x1: x(i), x2: x(i), y1: y(one.flux - one.flux_err),
      y2: y(one.flux + one.flux_err), class: "gnl-error" });
    const title = document.createElementNS(SVG, "title");
    title.textContent = `${one.exposure_id}: ${one.flux.toPrecision(4)} ± ` +
      `${one.flux_err.toPrecision(2)} adu`;
    const here = one.exposure_id === exposure;
    draw("circle", { cx: x(i), cy: y(one.flux), r: here ? 5 : 3,
      class: here ? "gnl-here" : "gnl-then" }).append(title);
  });
  light.append(svg);
  make("div", "", light,
    `flux [adu] here in ${history.length} exposures; ring: this one`);
}
