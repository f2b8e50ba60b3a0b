const specifications = JSON.parse(document.getElementById("specifications").textContent);
const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.classList.add("scripted");

async function draw() {
  const theme = dark.matches ? "dark" : "light";
  try {
    for (const [name, specification] of Object.entries(specifications[theme])) {
      const box = document.getElementById("chart-" + name);
      await vegaEmbed(box, specification, {
        mode: "vega-lite",
        renderer: "svg",
        logLevel: 1, // errors
        tooltip: { theme },
        actions: { export: true, source: false, compiled: false, editor: false },
        i18n: specifications.menu,
      });
      const picture = box.querySelector("svg.marks"); // one picture with its words, not a hundred shapes
      picture.setAttribute("role", "img");
      picture.setAttribute("aria-label", box.dataset.spoken);
      picture.removeAttribute("aria-roledescription");
      box.querySelector("summary")?.setAttribute("aria-label", specifications.menu.CLICK_TO_VIEW_ACTIONS);
    }
  } catch (error) {
    document.documentElement.classList.remove("scripted"); // the still pictures show instead
    console.error(error);
  }
  document.documentElement.dataset.drawn = theme;
}
draw();
dark.addEventListener("change", draw);

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.classList.contains("number");
      const sorted = head.getAttribute("aria-sort"); // numbers begin with the highest, names with the first
      const up = sorted ? sorted === "descending" : !numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.order ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [first, second] = [value(a), value(b)];
        return numeric ? Number(first) - Number(second) : first.localeCompare(second);
      });
      table.tBodies[0].append(...(up ? rows : rows.reverse()));
    });
  });
}
