// A line chart as inline SVG: chart({title, x, y, lines, levels, shade, xLog, yLog}) gives a <figure>.
// lines: [{label, x, y, colour, dash, dots}] with null for a gap; levels: [{label, y, colour}] are drawn dashed;
// shade: [from, to, label] on the x axis. y is logarithmic from data.logFrom up if it is all above 0.

const COLOURS = ["#3b8fd0", "#e07b39", "#1fa187", "#c065a8", "#b8a11a", "#7a7fd6", "#8c8c8c"]; // on white and on black
const WIDTH = 460, HEIGHT = 280, LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 42;
const DASHES = ["", "7 3", "2 3"];

function look(index) {
  return { colour: COLOURS[index % COLOURS.length], dash: DASHES[Math.floor(index / COLOURS.length) % DASHES.length] };
}

function chart({ title, x, y, lines, levels = [], shade = null, xLog = false, legend = true }) {
  const known = (values) => values.filter((value) => value != null);
  const xs = lines.flatMap((line) => known(line.x));
  const ys = [...lines.flatMap((line) => known(line.y)), ...levels.map((level) => level.y)];
  if (!lines.some((line) => known(line.y).length)) return null;
  const positive = ys.filter((value) => value > 0);
  const yLog = positive.length === ys.length && Math.max(...ys) >= data.logFrom * Math.min(...ys);
  const across = scale(xs, xLog, LEFT, WIDTH - RIGHT, x === "step");
  const up = scale(ys, yLog, HEIGHT - BOTTOM, TOP, !yLog && Math.min(...ys) >= 0);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}: ${y} over ${x}` });
  if (shade) drawing.append(shaded(shade, across));
  drawing.append(...grid(across, up), ...labels(x, y));
  for (const { label, y: value, colour } of levels) {
    drawing.append(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up(value), y2: up(value), stroke: colour,
      "stroke-dasharray": "5 4", "stroke-width": 1.2 }, svg("title", {}, `${label} ${format(value)}`)));
  }
  for (const line of lines) drawing.append(...drawn(line, across, up));
  return element("figure", { class: "chart" }, element("h3", {}, title), drawing,
    legend ? legendOf([...lines, ...levels.map((level) => ({ ...level, dash: "5 4" }))], shade) : null);
}

function legendOf(lines, shade) {
  const items = lines.map((line) => element("li", {}, swatch(line), line.label));
  if (shade) items.push(element("li", {}, element("span", { class: "shade-swatch" }), shade[2]));
  return element("ul", { class: "legend" }, ...items);
}

function swatch({ colour, dash }) {
  return svg("svg", { viewBox: "0 0 24 8", class: "swatch", "aria-hidden": "true" },
    svg("line", { x1: 0, x2: 24, y1: 4, y2: 4, stroke: colour, "stroke-width": 2.5, "stroke-dasharray": dash }));
}

// A function from values to pixels, with its `ticks`.
function scale(values, log, from, to, fromZero) {
  let low = Math.min(...values), high = Math.max(...values);
  if (fromZero) low = Math.min(0, low);
  if (low === high) [low, high] = log || low > 0 ? [low / 2, high * 2] : [low - 1, high + 1];
  const room = 0.04;
  const [a, b] = log ? [Math.log10(low), Math.log10(high)] : [low, high];
  const start = fromZero ? a : a - room * (b - a), end = b + room * (b - a);
  const place = (value) => from + ((log ? Math.log10(value) : value) - start) / (end - start) * (to - from);
  place.ticks = log ? logTicks(10 ** start, 10 ** end) : linearTicks(start, end);
  return place;
}

function linearTicks(low, high) {
  const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let index = Math.ceil(low / step); index * step <= high; index++) ticks.push(Number((index * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low), ticks = [];
  const factors = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(3)));
  }
  return ticks.filter((tick) => tick >= low && tick <= high);
}

function grid(across, up) {
  const nodes = [];
  for (const tick of up.ticks) {
    nodes.push(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up(tick), y2: up(tick), class: "grid" }));
    nodes.push(svg("text", { x: LEFT - 6, y: up(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  for (const tick of across.ticks) {
    nodes.push(svg("line", { x1: across(tick), x2: across(tick), y1: HEIGHT - BOTTOM, y2: HEIGHT - BOTTOM + 4, class: "axis" }));
    nodes.push(svg("text", { x: across(tick), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, format(tick)));
  }
  const corner = `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}`;
  return [...nodes, svg("path", { d: corner, class: "axis" })];
}

function labels(x, y) {
  const middle = (TOP + HEIGHT - BOTTOM) / 2;
  return [
    svg("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, x),
    svg("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, y),
  ];
}

function shaded([from, to], across) {
  return svg("rect", { x: across(from), y: TOP, width: across(to) - across(from), height: HEIGHT - BOTTOM - TOP, class: "shade" });
}

// A path with gaps; a value between two gaps, and every value of a line with `dots`, is a dot.
function drawn({ label, x, y, colour, dash, dots }, across, up) {
  const nodes = [];
  let path = "";
  y.forEach((value, index) => {
    if (value == null) return;
    const point = `${across(x[index]).toFixed(1)} ${up(value).toFixed(1)}`;
    path += (index > 0 && y[index - 1] != null ? "L" : "M") + point;
    const alone = y[index - 1] == null && y[index + 1] == null;
    if (dots || alone) {
      const [cx, cy] = point.split(" ");
      nodes.push(svg("circle", { cx, cy, r: 2.6, fill: colour }, svg("title", {}, `${label}: ${format(x[index])}, ${format(value)}`)));
    }
  });
  nodes.push(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.6, "stroke-dasharray": dash },
    svg("title", {}, label)));
  return nodes;
}
