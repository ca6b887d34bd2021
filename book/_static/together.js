/* What belongs together stays on one line: short code, and a formula with the punctuation after it. */
document.addEventListener("DOMContentLoaded", () => {
  const SHORT = 24; // letters that fit on any line
  const PUNCTUATION = /^[.,;:!?)\u2019]+/;

  for (const code of document.querySelectorAll(".bd-article code.literal")) {
    if (code.textContent.length <= SHORT) code.classList.add("together");
  }

  for (const formula of document.querySelectorAll(".bd-article span.math")) {
    const after = formula.nextSibling;
    const found = after?.nodeType === Node.TEXT_NODE && PUNCTUATION.exec(after.data);
    if (!found) continue;
    const line = document.createElement("span");
    line.className = "together";
    formula.replaceWith(line);
    line.append(formula, found[0]);
    after.data = after.data.slice(found[0].length);
  }
});
