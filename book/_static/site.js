/* What scrolls by itself can be reached and scrolled with the keyboard; what has always fitted is no stop on the way. */
"use strict";

// From a disk a browser fetches no other page: the search then lists titles without excerpts.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS === "object") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Paper is white: a dark page is printed as a light one.
matchMedia("print").addEventListener("change", (event) => {
  const page = document.documentElement.dataset;
  if (event.matches && page.theme === "dark") {
    page.onScreen = page.theme;
    page.theme = "light";
  } else if (!event.matches && page.onScreen) {
    page.theme = page.onScreen;
    delete page.onScreen;
  }
});

(() => {
  const WIDE = ".scroll, .bd-article pre, .bd-article div.math, .bd-article .output.text_html";

  // A box that scrolled once stays a stop: between two layouts it would be none for a moment.
  function look() {
    for (const box of document.querySelectorAll(WIDE)) {
      const style = getComputedStyle(box);
      const across = box.scrollWidth > box.clientWidth + 1 && /auto|scroll/.test(style.overflowX);
      const down = box.scrollHeight > box.clientHeight + 1 && /auto|scroll/.test(style.overflowY);
      if (!(across || down)) continue;
      box.tabIndex = 0;
      if (!box.hasAttribute("role")) {
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", box.dataset.name || "Can be scrolled");
      }
    }
  }

  let planned = 0;
  const soon = () => {
    cancelAnimationFrame(planned);
    planned = requestAnimationFrame(look);
  };
  addEventListener("resize", soon);
  addEventListener("load", () => {
    look();
    // Mathematics is set after the page has loaded, and folded parts open later.
    if (window.MathJax?.startup?.promise) window.MathJax.startup.promise.then(soon);
    const sizes = new ResizeObserver(soon);
    sizes.observe(document.querySelector("main") || document.body);
    // A table that grows, as when a font arrives, leaves its box as wide as it was.
    for (const box of document.querySelectorAll(WIDE)) [box, ...box.children].forEach((each) => sizes.observe(each));
  });
  document.addEventListener("toggle", soon, true);
})();
