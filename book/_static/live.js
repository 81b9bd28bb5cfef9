// Figures whose state a slider chooses (ast_lib/book/live.py). One listener serves all of them, also those that come
// later; a sound that is playing goes on at the same instant in the new state.
window.astLive ??= (() => {
  document.addEventListener("input", (event) => {
    const figure = event.target.closest("figure.live");
    if (!figure || !event.target.matches(".live-control input")) return;
    const old = figure.querySelector(".live-state:not([hidden])");
    const now = figure.querySelectorAll(".live-state")[event.target.value];
    if (old === now) return;
    old.hidden = true;
    now.hidden = false;
    event.target.setAttribute("aria-valuetext", now.querySelector(".live-value").dataset.value);
    const before = old.querySelector("audio");
    const after = now.querySelector("audio");
    if (before && !before.paused) {
      after.currentTime = before.currentTime;
      before.pause();
      after.play().catch(() => {}); // the next state came before this one was loaded
    }
  });
  return true;
})();
