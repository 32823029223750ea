// Charts as inline SVG. chart({title, ...panel}) gives a <figure>; panel(...) gives its drawing and legend, or null
// where there is no value to draw. What a panel takes, all but the labels optional:
//   title, x, y  the first for people who cannot see it; an x axis labeled "step" begins at 0
//   xLog, yLog   logarithmic axes; without yLog, y is if all its values are above 0 and span a factor of data.logFrom
//   lines        [{label, x, y, color, dash, dots}], null for a gap
//   points       [{label, run, x, y, error, value}], lists; a point has the shape of its run's state and opens the run
//   colors       {label, low, high}, the scale that colors points by their value
//   levels       [{label, x or y, color}], dashed lines across the chart
//   diagonal     label of the dashed line on which x equals y
//   bars         [{label, value}], shares in place of a y axis
//   shade        [from, to, label] on the x axis
//   legend       false leaves the legend out
//   large        for a chart that spans two columns where the page has three

const LEFT = 58, RIGHT = 12, TOP = 10, BOTTOM = 42; // space for the labels
const wide = matchMedia("(min-width: 82rem)"); // where page.css gives large charts two columns

function chart({ title, ...spec }) {
  const drawn = panel({ title, ...spec });
  return drawn && element("figure", { class: "chart" }, element("h3", {}, title), drawn);
}

function panel(spec) {
  const { title, x, y, lines = [], points = [], levels = [], bars = [], diagonal, shade, legend = true, large } = spec;
  const [width, height] = large && wide.matches ? [940, 640] : [460, bars.length ? 190 : 280];
  const frame = { left: LEFT, right: width - RIGHT, top: TOP, bottom: height - BOTTOM };
  const { across, up } = scales(spec, frame);
  if (!across) return null;
  const label = `${title}: ${[y, x].filter(Boolean).join(" over ")}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  if (shade) drawing.append(shadeOf(shade, across, frame));
  drawing.append(...axes(across, up, frame), ...axisLabels(x, y, frame));
  drawing.append(...levels.map((level) => levelOf(level, across, up, frame)));
  if (diagonal) drawing.append(diagonalOf(diagonal, across, up));
  drawing.append(...barsOf(bars, across, frame));
  for (const line of lines) drawing.append(...lineOf(line, across, up));
  drawing.append(...pointsOf(points, spec.colors, across, up));
  return element("div", { class: "panel" }, drawing, legend ? legendOf(spec) : null);
}

const known = (values) => values.filter((value) => value != null);

// Functions from values to pixels for both axes; none where there is no value, and no `up` for bars. A linear axis
// begins at 0 unless half of it would be empty.
function scales({ x, xLog = false, yLog, lines = [], points = [], levels = [], bars = [], diagonal }, { left, right, top, bottom }) {
  if (bars.length) return { across: scale([0, 1], false, left, right, true) };
  const drawn = [...lines, ...points];
  if (!drawn.some((series) => known(series.y).length)) return {};
  let xs = known([...drawn.flatMap((series) => series.x), ...levels.map((level) => level.x)]);
  let ys = known([...drawn.flatMap((series) => series.y), ...levels.map((level) => level.y), ...points.flatMap(errorEnds)]);
  if (diagonal) xs = ys = [...xs, ...ys];
  const [low, high] = extent(ys);
  const log = yLog ?? (low > 0 && high >= data.logFrom * low);
  return { across: scale(xs, xLog, left, right, x === "step"), up: scale(ys, log, bottom, top, !log && low >= 0 && 2 * low < high) };
}

// The smallest and the largest value; a call of Math.min with thousands of arguments could fail.
const extent = (values) => [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];

// A function from values to pixels, with its `low` and `high` end and its `ticks`.
function scale(values, log, from, to, fromZero) {
  let [low, high] = extent(values);
  if (fromZero) low = Math.min(0, low);
  if (low === high) [low, high] = log || low > 0 ? [low / 2, high * 2] : [low - 1, high + 1];
  const [onAxis, value] = log ? [Math.log10, (position) => 10 ** position] : [Number, Number];
  const room = 0.04 * (onAxis(high) - onAxis(low));
  const start = fromZero ? low : onAxis(low) - room, end = onAxis(high) + room;
  const place = (number) => from + (onAxis(number) - start) / (end - start) * (to - from);
  [place.low, place.high] = [value(start), value(end)];
  place.ticks = log ? logTicks(place.low, place.high) : linearTicks(place.low, place.high);
  return place;
}

function linearTicks(low, high) {
  const rough = (high - low) / 6, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let index = Math.ceil(low / step); index * step <= high; index++) ticks.push(Number((index * step).toPrecision(12)));
  return ticks;
}

// At least two, which a short axis may only have between the usual ones.
function logTicks(low, high) {
  const decades = Math.log10(high / low), ticks = [];
  const factors = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(3)));
  }
  const inside = ticks.filter((tick) => tick >= low && tick <= high);
  return inside.length > 1 ? inside : linearTicks(low, high);
}

function axes(across, up, { left, right, top, bottom }) {
  const nodes = [];
  for (const tick of up?.ticks ?? []) {
    nodes.push(svg("line", { x1: left, x2: right, y1: up(tick), y2: up(tick), class: "grid" }));
    nodes.push(svg("text", { x: left - 6, y: up(tick) + 4, "text-anchor": "end", class: "tick" }, format(tick)));
  }
  for (const tick of across.ticks) {
    nodes.push(svg("line", { x1: across(tick), x2: across(tick), y1: bottom, y2: bottom + 4, class: "axis" }));
    nodes.push(svg("text", { x: across(tick), y: bottom + 17, "text-anchor": "middle", class: "tick" }, format(tick)));
  }
  return [...nodes, svg("path", { d: `M${left} ${top}V${bottom}H${right}`, class: "axis" })];
}

function axisLabels(x, y, { left, right, top, bottom }) {
  const middle = (top + bottom) / 2;
  const below = svg("text", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, x);
  if (!y) return [below];
  return [below, svg("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, y)];
}

function legendOf({ lines = [], points = [], levels = [], diagonal, shade, colors }) {
  const dashed = diagonal ? [...levels, { label: diagonal }] : levels;
  const items = [
    ...lines.map((line) => [lineSwatch(line), line.label]),
    ...dashed.map((line) => [lineSwatch({ ...line, dash: DASHED }), line.label]),
    ...(points.length > 1 ? points.map((series, index) => [markSwatch(svg("circle", { r: 4.5, fill: look(index).color })), series.label]) : []),
    ...statesOf(points).map(([name, { shape }]) => [markSwatch(svg("path", { d: shape, class: "shape" })), name]),
  ];
  if (colors) items.push([colorSwatch(colors), colors.label]);
  if (shade) items.push([element("span", { class: "shade-swatch" }), shade[2]]);
  return element("ul", { class: "legend" }, ...items.map((item) => element("li", {}, ...item)));
}
