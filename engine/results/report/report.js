// Draws each chart from the specification that follows it. `ast`: expressions are interpreted, so the page needs no eval.
const options = { renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
Promise.all(
  Array.from(document.querySelectorAll(".chart"), (chart) =>
    vegaEmbed(chart, JSON.parse(chart.nextElementSibling.textContent), options),
  ),
).then(
  () => document.documentElement.classList.add("drawn"),
  (error) => console.error(error),
);
