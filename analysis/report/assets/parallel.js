// Parallel coordinates: an axis for each number, a line for each run, colored by its score, that opens the run. It takes
//   axes    [{label, log, values}], a value for each run
//   run     names of the runs, best first
//   bold    whether each stands out
//   colors  {label, low, high}, the scale of the last axis, which is the score

const twoColumns = matchMedia("(min-width: 52rem)"); // which the chart spans in page.css

function parallel({ title, axes, run, bold, colors }) {
  const width = twoColumns.matches ? 940 : 460, step = (width - 130) / (axes.length - 1);
  const rows = step < 100 ? 2 : 1, top = 14 + 20 * rows, bottom = 290; // of names, which are side by side where they fit
  const label = `${title}: ${axes.map((axis) => axis.label).join(", ")}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${bottom + 16}`, role: "img", "aria-label": label });
  const placed = axes.map((axis, index) => ({ ...axis, x: 55 + index * step, up: scale(axis.values, axis.log, bottom, top) }));
  const scores = axes.at(-1).values;
  run.toReversed().forEach((name, position) => {
    const index = run.length - 1 - position;
    const thickness = bold[index] ? { "stroke-width": 2.6 } : { "stroke-width": 1.4, "stroke-opacity": 0.6 };
    const path = placed.map(({ x, up, values }) => `${x.toFixed(1)} ${up(values[index]).toFixed(1)}`).join("L");
    drawing.append(svg("a", { href: runLink(name), tabindex: "-1", class: "point" },
      svg("title", {}, `${name}: score ${fixed(scores[index], 3)}`),
      svg("path", { d: `M${path}`, fill: "none", stroke: colorOf(scores[index], colors), ...thickness })));
  });
  for (const [index, { label, x, up }] of placed.entries()) {
    drawing.append(svg("line", { x1: x, x2: x, y1: top, y2: bottom, class: "axis" }));
    drawing.append(svg("text", { x, y: top - 14 - 20 * (index % rows), "text-anchor": "middle" }, label));
    drawing.append(...up.ticks.map((tick) => svg("text", { x: x - 5, y: up(tick) + 4, "text-anchor": "end", class: "tick halo" }, format(tick))));
  }
  return element("div", { class: "panel" }, drawing, legendOf({ colors }));
}
