// The page's start, and its address: #run=NAME opens a run, #compare=A,B puts two side by side.

const [firstSelect, secondSelect] = ["compare-a", "compare-b"].map((id) => document.getElementById(id));
const dialog = document.getElementById("run");

function named(text) {
  try {
    return byName.get(decodeURIComponent(text));
  } catch {
    return undefined; // a broken escape names no run
  }
}

function followAddress() {
  const [, view, argument] = location.hash.match(/^#(run|compare)=(.*)$/) ?? [];
  const asked = (argument ?? "").split(",").map(named);
  if (view === "run" && asked[0]) return showRun(asked[0]);
  dialog.close();
  if (view !== "compare" || !asked[0] || !asked[1]) return;
  [firstSelect.value, secondSelect.value] = asked.map((run) => run.name);
  showComparison(asked[0], asked[1]);
  document.getElementById("side-by-side").scrollIntoView();
}

// The charts of studies, whose panels' arguments the page holds as JSON.
function drawCharts() {
  for (const script of document.querySelectorAll(".panels > script")) {
    const title = script.closest("figure").querySelector("h3").textContent;
    if (script.nextElementSibling?.matches(".panel")) script.nextElementSibling.remove();
    const spec = { title, ...JSON.parse(script.textContent) };
    script.after(spec.axes ? parallel(spec) : panel(spec));
  }
}

function offerComparison() {
  for (const select of [firstSelect, secondSelect]) {
    select.append(...runs.map((run) => element("option", { value: run.name }, `${run.name} (${fixed(run.score, 3)}, ${run.state})`)));
    select.onchange = () => { location.hash = compareLink(firstSelect.value, secondSelect.value); };
  }
  if (runs.length < 2) return;
  const other = runs.findLast((run) => run.pictures.samples) ?? runs[1]; // the worst that has pictures
  secondSelect.value = (other === runs[0] ? runs[1] : other).name;
  showComparison(runs[0], byName.get(secondSelect.value));
}

// A slider below the samples of a run, over the steps of its training.
function offerSteps(figure, course) {
  if (course.length < 2) return;
  const slider = element("input", { type: "range", min: 0, max: course.length - 1, value: course.length - 1, id: "course-step" });
  const label = element("label", { for: "course-step" });
  slider.oninput = () => {
    const { step, samples } = course[slider.value];
    figure.querySelector("img").src = samples;
    label.textContent = `after step ${step}`;
    slider.setAttribute("aria-valuetext", label.textContent);
  };
  figure.append(element("div", { class: "controls" }, slider, label));
  slider.oninput();
}

function showSamples() {
  const card = document.getElementById("card");
  const best = card && byName.get(card.dataset.run);
  if (best?.pictures.samples) {
    const shown = band(best, "samples", "Samples");
    card.querySelector(".samples").append(shown);
    offerSteps(shown, embedded("course"));
  }
  document.querySelector(".wall").append(...runs.filter((run) => run.thumbnail).map((run) =>
    element("figure", { "data-study": studyOf(run.name) }, thumbnail(run), element("figcaption", {},
      element("a", { href: runLink(run.name) }, ...breakable(run.name)), ` ${fixed(run.score, 3)}`))));
}

dialog.addEventListener("close", () => {
  if (location.hash.startsWith("#run=")) history.replaceState(null, "", "#"); // unlike location.hash, this does not scroll
});
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
for (const query of [wide, twoColumns]) query.addEventListener("change", drawCharts);
drawCharts();
runs.filter((run) => run.curves.step).slice(0, 3).forEach((run) => chosen.add(run.name));
drawChosen();
offerComparison();
showSamples();
makeTable(await loadDataTables(), drawChosen);
document.documentElement.dataset.ready = "true";
window.addEventListener("hashchange", followAddress);
followAddress();
