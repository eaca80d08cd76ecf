// Read a chart's values under the pointer. The pages are whole without it: the same numbers stand in the table below each chart.
for (const figure of document.querySelectorAll("figure.chart")) {
  const plot = figure.querySelector(".plot"), readout = figure.querySelector(".readout");
  const make = (name, parent) => parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name));
  const lines = [...plot.querySelectorAll(".line")].map((line) => ({
    label: line.dataset.label,
    values: line.dataset.values.trim().split(" "),
    points: line.getAttribute("points").trim().split(" ").map((pair) => pair.split(",").map(Number)),
    dot: null, class: line.getAttribute("class").replace("line", "dot"),
  }));
  const clear = () => { for (const line of lines) { line.dot?.remove(); line.dot = null; } readout.textContent = ""; };
  plot.addEventListener("pointermove", (event) => {
    const x = new DOMPoint(event.clientX, event.clientY).matrixTransform(plot.getScreenCTM().inverse()).x;
    const said = [];
    let shown = "";
    for (const line of lines) {
      let near = 0;
      line.points.forEach(([at], i) => { if (Math.abs(at - x) < Math.abs(line.points[near][0] - x)) near = i; });
      line.dot ??= make("circle", plot);
      for (const [key, value] of [["class", line.class], ["r", 4], ["cx", line.points[near][0]], ["cy", line.points[near][1]]]) line.dot.setAttribute(key, value);
      const [step, value] = line.values[near].split(":");
      shown = step;
      said.push(lines.length > 1 ? `${line.label} ${value}` : value);
    }
    readout.textContent = `${figure.dataset.by ?? "step"} ${shown}: ${said.join(" · ")}`;
  });
  plot.addEventListener("pointerleave", clear);
}
