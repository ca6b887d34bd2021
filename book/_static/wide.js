/* What is too wide scrolls by itself: tables, code and displayed formulas. Each is told on which
   sides there is more, for the style sheet to show it, and can be reached by keyboard while there
   is. A figure that is drawn smaller than it is leads to itself alone, where it can be enlarged. */
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

  function enlarge(picture) {
    if (picture.closest("a") || picture.clientWidth >= picture.naturalWidth) return;
    const link = document.createElement("a");
    link.href = picture.currentSrc;
    link.className = "enlarge";
    picture.replaceWith(link);
    link.append(picture);
  }

  for (const picture of document.querySelectorAll(".bd-article figure img")) {
    if (picture.complete) enlarge(picture);
    else picture.addEventListener("load", () => enlarge(picture), { once: true });
  }

  await window.MathJax?.startup?.promise;
  const observer = new ResizeObserver((entries) => entries.forEach((e) => mark(e.target)));
  const wide = ".bd-article :is(table, pre, mjx-container[display='true'])";
  for (const box of document.querySelectorAll(wide)) {
    box.addEventListener("scroll", () => mark(box), { passive: true });
    observer.observe(box);
  }
});
