// The dialog of a run, two runs side by side, and the training curves of the chosen runs.

const BAND_TITLES = { originals: "Originals", reconstructions: "Reconstructions", samples: "Samples" };
const SHEET_TITLES = { traversals: "Traversals", interpolations: "Interpolations", plane: "Plane through three images" };
const SHEET_CAPTIONS = {
  traversals: "Each row varies one latent dimension from the lowest to the highest value observed, with all others at 0. The dimension furthest from the prior comes first.",
  interpolations: "From the code of one image to that of another, in equal steps.",
  plane: "The plane through the codes of three images.",
};
const ENERGIES = { kl_real: "real", kl_reconstruction: "reconstructions", kl_sample: "samples" };
const ERROR_AXIS = "½ squared error, summed over pixels";

const warmup = (run) => (run.config.warmup_steps ? [0, Math.min(run.config.warmup_steps, Math.max(...run.curves.step)), "warm-up"] : null);
const margin = (run, color, label) => (run.m == null ? [] : [{ label, y: run.m, color }]);

function curve(run, column, label, style) {
  return { label, x: run.curves.step, y: run.curves[column], ...style };
}

function drawChosen() {
  const drawn = runs.filter((run) => chosen.has(run.name));
  const styles = new Map(drawn.map((run, index) => [run, look(index)]));
  document.getElementById("chosen").replaceChildren(...drawn.map((run) =>
    element("li", {}, lineSwatch(styles.get(run)), element("a", { href: runLink(run.name) }, run.name))));
  const units = [...new Set(drawn.map((run) => run.lossUnit))].join(" or ");
  const drawing = (column, title, y, levels = false) => chart({
    title, y, x: "step", legend: false,
    lines: drawn.map((run) => curve(run, column, run.name, styles.get(run))),
    levels: levels ? drawn.flatMap((run) => margin(run, styles.get(run).color, `margin of ${run.name}`)) : [],
  });
  const panels = [
    drawing("kl_real", "KL of real images", "KL [nats]", true),
    drawing("kl_reconstruction", "KL of reconstructions", "KL [nats]", true),
    drawing("kl_sample", "KL of samples", "KL [nats]", true),
    drawing("reconstruction", "Reconstruction error", ERROR_AXIS),
    drawing("loss_encoder", "Loss of the encoder", `loss [${units}]`),
    drawing("loss_decoder", "Loss of the decoder", `loss [${units}]`),
  ].filter(Boolean);
  const none = element("p", { class: "caption" }, "No run is chosen. Tick the box of a run in the table to draw its curves.");
  document.getElementById("curve-charts").replaceChildren(...(panels.length ? panels : [none]));
}

function runCharts(run) {
  const { measures, curves } = run;
  const [blue, orange, green] = [0, 1, 2].map((index) => look(index));
  const indices = (values) => values.map((_, index) => index + 1);
  const charts = [];
  if (curves.step) {
    const shade = warmup(run);
    charts.push(
      chart({ title: "KL", x: "step", y: "KL [nats]", shade, levels: margin(run, "currentColor", "margin m"),
        lines: Object.entries(ENERGIES).map(([column, label], index) => curve(run, column, label, look(index))) }),
      chart({ title: "Reconstruction error", x: "step", y: ERROR_AXIS, shade, lines: [curve(run, "reconstruction", "training images", blue)] }),
      chart({ title: "Losses", x: "step", y: `loss [${run.lossUnit}]`, shade,
        lines: [curve(run, "loss_encoder", "encoder", blue), curve(run, "loss_decoder", "decoder", orange)] }));
  }
  if (measures.kl_per_dimension) {
    const rank = measures.kl_per_dimension.map((value, index) => [value, index]).sort((a, b) => b[0] - a[0]).map((pair) => pair[1]);
    const sorted = (values) => rank.map((index) => values[index]);
    const quantiles = Object.entries(measures.kl_quantiles ?? {}).map(([name, values], index) =>
      ({ label: `quantile ${name} over images`, x: indices(rank), y: sorted(values), ...look(index + 1) }));
    charts.push(chart({ title: "KL of each latent dimension", x: "dimension, by decreasing KL", y: "KL [nats]",
      lines: [{ label: "mean over images", x: indices(rank), y: sorted(measures.kl_per_dimension), ...blue }, ...quantiles] }));
    if (measures.decoder_sensitivity) {
      charts.push(chart({ title: "Sensitivity of the decoder", x: "dimension, by decreasing KL", y: "change of the image",
        lines: [{ label: "sensitivity", x: indices(rank), y: sorted(measures.decoder_sensitivity), ...blue }] }));
    }
  }
  if (measures.active_units) {
    const pairs = Object.entries(measures.active_units).map(([threshold, count]) => [Number(threshold), count]).sort((a, b) => a[0] - b[0]);
    charts.push(chart({ title: "Active units", x: "threshold on the variance of the mean", y: "latent dimensions", xLog: true,
      lines: [{ label: `of ${run.config.latent} dimensions`, x: pairs.map((pair) => pair[0]), y: pairs.map((pair) => pair[1]), dots: true, ...blue }] }));
  }
  const spectra = { real: green, reconstructions: blue, samples: orange };
  const lines = Object.entries(spectra).filter(([name]) => measures[`power_spectrum_${name}`]).map(([name, style]) =>
    ({ label: name, x: measures[`power_spectrum_${name}`].map((_, index) => index), y: measures[`power_spectrum_${name}`], ...style }));
  charts.push(chart({ title: "Power spectrum", x: "spatial frequency [cycles per image]", y: "power", lines }));
  return charts.filter(Boolean);
}

function picture(id, alt, className) {
  return element("div", { class: "scroll", role: "region", "aria-label": alt, tabindex: "0" },
    element("img", { src: images[id], alt, class: className }));
}

// Small images are enlarged to clear pixels (page.css).
function band(run, kind, title) {
  return framed(run, kind, title, run.config.image_size < 64 ? "band crisp" : "band");
}

const sheet = (run, kind, title) => framed(run, kind, title, "sheet");

function framed(run, kind, title, className) {
  return element("figure", { class: "picture" }, element("figcaption", {}, title), picture(run.pictures[kind], `${title} of ${run.name}`, className));
}

const noPictures = (run) => element("p", { class: "caption" },
  "This page does not hold the full-size pictures of this run. Look for them in ", element("code", {}, `${run.folder}/images`), ".");

// A table with a name, a value and an explanation in each row.
function factTable(title, rows) {
  return element("table", { class: "facts" }, element("caption", {}, title), element("tbody", {}, ...rows.map(([name, value, hint]) =>
    element("tr", {}, element("th", { scope: "row" }, name), element("td", { class: "number" }, value), element("td", { class: "hint" }, hint)))));
}

const LISTS = ["active_units", "kl_per_dimension", "kl_quantiles", "decoder_sensitivity"]; // drawn as charts
const setting = (value) => (Number.isInteger(value) ? String(value) : format(value)); // no comma in whole numbers, and none of their digits rounded
const isDrawn = (name) => LISTS.includes(name) || name.startsWith("power_spectrum_");
const isRange = (unit) => unit.includes(" to "); // not written after a value
const withUnit = (value, unit) => (value == null || !unit || isRange(unit) || Array.isArray(value) ? format(value) : `${format(value)} ${unit}`);

function measureTables(run) {
  const left = new Map(Object.entries(run.measures).filter(([name]) => !isDrawn(name)));
  const groups = new Map();
  for (const { group, name, unit, meaning } of data.glossary) {
    const isScore = group === "Score";
    if (!isScore && !left.has(name)) continue;
    const value = isScore ? run[name] : left.get(name);
    if (!isScore) left.delete(name);
    if (!groups.has(group)) groups.set(group, []);
    const hint = isRange(unit) && !isScore ? `${meaning} (${unit})` : meaning;
    groups.get(group).push([name, isScore ? fixed(value, 3) : withUnit(value, unit), hint]);
  }
  if (left.size) groups.set("Further measures", [...left].map(([name, value]) => [name, format(value), ""]));
  return [...groups].map(([group, rows]) => factTable(group, rows));
}

function parameterTable(run) {
  return factTable("Parameters", Object.entries(run.config).map(([name, value]) => [name, setting(value), data.parameters[name] ?? ""]));
}

function showRun(run) {
  const dialog = document.getElementById("run");
  const other = runs.find((candidate) => candidate !== run);
  const bands = Object.entries(BAND_TITLES).filter(([kind]) => run.pictures[kind]).map(([kind, title]) => band(run, kind, title));
  const sheets = Object.entries(SHEET_TITLES).filter(([kind]) => run.pictures[kind]).map(([kind, title]) =>
    element("figure", { class: "picture" }, element("h3", {}, title), element("figcaption", {}, SHEET_CAPTIONS[kind]),
      picture(run.pictures[kind], `${title} of ${run.name}`, "sheet")));
  const close = element("button", { type: "button", class: "close" }, "Close");
  close.onclick = () => dialog.close();
  dialog.replaceChildren(
    element("header", {}, element("h2", { id: "run-title" }, run.name), close),
    element("p", {}, stateBadge(run), run.reason ? `: ${run.reason}` : ""),
    element("p", { class: "key-numbers" }, ...keyNumbers(run)),
    ...(other ? [element("p", {}, element("a", { href: compareLink(other.name, run.name) }, `Side by side with ${other.name}`))] : []),
    element("h3", {}, "Pictures at the last step"),
    ...(bands.length ? bands : [noPictures(run)]),
    ...sheets,
    element("div", { class: "charts" }, ...runCharts(run)),
    element("div", { class: "tables" }, ...measureTables(run), run.config.steps ? parameterTable(run) : null),
    element("p", { class: "caption" }, "Folder: ", element("code", {}, run.folder)));
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
}

function keyNumbers(run) {
  const pairs = [["validation", withError(run.score, run.stderr)], ["test", withError(run.test, run.testStderr)], ["alpha", format(run.alpha)], ["beta", format(run.beta)], ["m [nats]", format(run.m)],
    ["m/KL", format(run.ratio)], ...(run.predictedRatio == null ? [] : [["m/predicted KL", format(run.predictedRatio)]]), ["KL [nats]", format(run.kl)]];
  return pairs.map(([name, value]) => element("span", {}, element("small", {}, name), element("b", {}, value)));
}

function showComparison(a, b) {
  const both = (kind) => a.pictures[kind] && b.pictures[kind];
  const pictures = [];
  const same = both("originals") && a.pictures.originals === b.pictures.originals;
  if (same) pictures.push(band(a, "originals", "Originals of both"));
  else pictures.push(...[a, b].filter((run) => run.pictures.originals).map((run) => band(run, "originals", `Originals: ${run.name}`)));
  for (const kind of ["reconstructions", "samples"]) {
    pictures.push(...[a, b].filter((run) => run.pictures[kind]).map((run) => band(run, kind, `${BAND_TITLES[kind]}: ${run.name}`)));
  }
  for (const [kind, title] of Object.entries(SHEET_TITLES)) {
    pictures.push(...[a, b].filter((run) => run.pictures[kind]).map((run) => sheet(run, kind, `${title}: ${run.name}`)));
  }
  const missing = [a, b].filter((run) => !run.pictures.originals).map((run) =>
    element("div", {}, element("b", {}, run.name), run.thumbnail ? thumbnail(run) : null, noPictures(run)));
  document.getElementById("compare").replaceChildren(...pictures, ...missing, differences(a, b));
}

// The scores of both, and the settings that differ.
function differences(a, b) {
  const names = [...new Set([...Object.keys(a.config), ...Object.keys(b.config)])];
  const settings = names.filter((name) => JSON.stringify(a.config[name]) !== JSON.stringify(b.config[name]))
    .map((name) => [name, setting(a.config[name]), setting(b.config[name])]);
  const known = { score: "validation", stderr: "its standard error", test: "test", testStderr: "its standard error" };
  const scores = [...Object.keys(known), ...data.parts].map((name) => [known[name] ?? name, fixed(a[name], 3), fixed(b[name], 3)]);
  const predicted = a.predictedRatio == null && b.predictedRatio == null ? [] : [["m/predicted KL", format(a.predictedRatio), format(b.predictedRatio)]];
  const further = [["m/KL", format(a.ratio), format(b.ratio)], ...predicted, ["KL [nats]", format(a.kl), format(b.kl)]];
  const row = ([name, first, second]) => element("tr", {}, element("th", { scope: "row" }, name),
    element("td", { class: "number" }, first), element("td", { class: "number" }, second));
  const heading = (text) => element("tr", { class: "heading" }, element("th", { colspan: 3, scope: "colgroup" }, text));
  return element("table", { class: "facts compare" },
    element("thead", {}, element("tr", {}, element("td"), element("th", { scope: "col" }, a.name), element("th", { scope: "col" }, b.name))),
    element("tbody", {},
      element("tr", {}, element("th", { scope: "row" }, "state"), element("td", { class: "number" }, stateBadge(a)), element("td", { class: "number" }, stateBadge(b))),
      ...[...scores, ...further].map(row),
      heading(settings.length ? "Settings that differ" : "All settings are the same"), ...settings.map(row)));
}
