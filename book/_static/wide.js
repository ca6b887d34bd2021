/* What is too wide scrolls by itself: tables, code and displayed formulas. Each is told on which
   sides there is more, for the style sheet to show it, and can be reached by keyboard while there
   is. */
document.addEventListener("DOMContentLoaded", async () => {
  const SLACK = 1; // pixels that rounding may leave

  function mark(box) {
    const hidden = box.scrollWidth - box.clientWidth;
    const sides = [];
    if (box.scrollLeft > SLACK) sides.push("left");
    if (hidden - box.scrollLeft > SLACK) sides.push("right");
    if (sides.length) box.dataset.more = sides.join(" ");
    else delete box.dataset.more;
    if (sides.length) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }

  await window.MathJax?.startup?.promise;
  const observer = new ResizeObserver((entries) => entries.forEach((e) => mark(e.target)));
  const wide = ".bd-article :is(table, pre, mjx-container[display='true'])";
  for (const box of document.querySelectorAll(wide)) {
    box.addEventListener("scroll", () => mark(box), { passive: true });
    observer.observe(box);
  }
});
