// What charts hold, and how their legends show it: lines, levels, points and bars.

const COLORS = ["#3b8fd0", "#e07b39", "#1fa187", "#c065a8", "#b8a11a", "#7a7fd6", "#8c8c8c"]; // on white and on black
const DASHES = ["", "7 3", "2 3"], DASHED = "5 4"; // of lines once all colors are used, and of levels
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"]; // even for color-blind people

const look = (index) => ({ color: COLORS[index % COLORS.length], dash: DASHES[Math.floor(index / COLORS.length) % DASHES.length] });

// A path with gaps; a value between two gaps, and every value of a line with `dots`, is a dot.
function lineOf({ label, x, y, color = "currentColor", dash, dots }, across, up) {
  const nodes = [];
  let path = "";
  y.forEach((value, index) => {
    if (value == null) return;
    const [cx, cy] = [across(x[index]).toFixed(1), up(value).toFixed(1)];
    path += `${index > 0 && y[index - 1] != null ? "L" : "M"}${cx} ${cy}`;
    const alone = y[index - 1] == null && y[index + 1] == null;
    if (dots || alone) {
      nodes.push(svg("circle", { cx, cy, r: 2.6, fill: color }, svg("title", {}, `${label}: ${format(x[index])}, ${format(value)}`)));
    }
  });
  const style = { fill: "none", stroke: color, "stroke-width": 1.6, "stroke-dasharray": dash };
  return [...nodes, svg("path", { d: path, ...style }, svg("title", {}, label))];
}

function levelOf({ label, x, y, color }, across, up, { left, right, top, bottom }) {
  const ends = x == null ? { x1: left, x2: right, y1: up(y), y2: up(y) } : { x1: across(x), x2: across(x), y1: top, y2: bottom };
  return dashedLine(ends, `${label} ${format(x ?? y)}`, color);
}

function diagonalOf(label, across, up) {
  return dashedLine({ x1: across(across.low), x2: across(across.high), y1: up(across.low), y2: up(across.high) }, label);
}

function dashedLine(ends, title, color = "currentColor") {
  return svg("line", { ...ends, stroke: color, "stroke-dasharray": DASHED, "stroke-width": 1.2 }, svg("title", {}, title));
}

function shadeOf([from, to], across, { top, bottom }) {
  return svg("rect", { x: across(from), y: top, width: across(to) - across(from), height: bottom - top, class: "shade" });
}

function barsOf(bars, across, { left, top, bottom }) {
  const room = (bottom - top) / bars.length;
  return bars.flatMap(({ label, value }, index) => {
    const middle = top + (index + 0.5) * room;
    const size = { x: left, y: middle - 0.3 * room, width: across(value) - left, height: 0.6 * room };
    return [
      svg("rect", { ...size, fill: COLORS[0] }),
      svg("text", { x: left - 6, y: middle + 4, "text-anchor": "end" }, label),
      svg("text", { x: across(value) + 5, y: middle + 4 }, fixed(value, 2)),
    ];
  });
}

// Error bars below all points, and the first points, which are the best runs, above the others.
function pointsOf(series, colors, across, up) {
  const errors = [], marks = [];
  series.forEach(({ run, x, y, error = [], value }, index) => run.forEach((name, i) => {
    const color = colors ? colorOf(value[i], colors) : look(index).color;
    const at = { x: across(x[i]), y: up(y[i]) };
    marks.unshift(mark(byName.get(name), at, color, colors ? "currentColor" : "var(--paper)"));
    if (error[i] != null) {
      errors.push(svg("line", { x1: at.x, x2: at.x, y1: up(y[i] - error[i]), y2: up(y[i] + error[i]), class: "error" }));
    }
  }));
  return [...errors, ...marks];
}

const errorEnds = ({ y, error = [] }) => y.flatMap((value, i) => (error[i] == null ? [] : [value - error[i], value + error[i]]));

// A link to a run in its state's shape. The table leads to every run by keyboard, so points need not be reached by it.
function mark(run, { x, y }, color, outline) {
  const { shape } = data.states[run.state];
  const place = `translate(${x.toFixed(1)} ${y.toFixed(1)})`;
  return svg("a", { href: runLink(run.name), tabindex: "-1", transform: place, class: "point" },
    svg("title", {}, `${run.name}: score ${fixed(run.score, 3)}, ${run.state}`),
    svg("path", { d: shape, fill: "none", stroke: outline, "stroke-width": 4 }),
    svg("path", { d: shape, fill: color, stroke: color, "stroke-width": 2 }));
}

// The color of a value on a scale from `low` to `high`.
function colorOf(value, { low, high }) {
  const share = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 1;
  const place = share * (VIRIDIS.length - 1), below = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const channels = (hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  const [from, to] = [channels(VIRIDIS[below]), channels(VIRIDIS[below + 1])];
  return `rgb(${from.map((channel, index) => Math.round(channel + (place - below) * (to[index] - channel))).join(" ")})`;
}

// The states of the points, in the order of `data.states`.
function statesOf(series) {
  const found = new Set(series.flatMap(({ run }) => run.map((name) => byName.get(name).state)));
  return Object.entries(data.states).filter(([name]) => found.has(name));
}

function lineSwatch({ color = "currentColor", dash }) {
  return svg("svg", { viewBox: "0 0 24 8", class: "swatch", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 24, y1: 4, y2: 4, stroke: color, "stroke-width": 2.5, "stroke-dasharray": dash }));
}

const markSwatch = (drawn) => svg("svg", { viewBox: "-7 -7 14 14", class: "mark-swatch", "aria-hidden": "true" }, drawn);

function colorSwatch({ low, high }) {
  const steps = Array.from({ length: 32 }, (_, index) => index);
  const stripes = steps.map((step) => svg("rect", { x: 4 * step, width: 4.5, height: 12, fill: colorOf(step / 31, { low: 0, high: 1 }) }));
  return element("span", { class: "color-swatch" }, `≤ ${format(low)}`,
    svg("svg", { viewBox: "0 0 128 12", "aria-hidden": "true" }, ...stripes), format(high));
}
