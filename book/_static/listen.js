/* Players to compare (display.sound_grid): one sound at a time, a playhead over every spectrogram, a change of sound at
   the same instant by button or key, and a blind test that scores itself. Without this script the players stand by
   themselves. */
"use strict";

(() => {
  let sounding = null; // the one element that plays on this page

  const make = (name, attributes = {}, text = "") => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

  // Whatever begins to play ends what played before.
  document.addEventListener(
    "play",
    (event) => {
      if (sounding && sounding !== event.target) sounding.pause();
      sounding = event.target;
    },
    true,
  );

  function group(box) {
    const rows = [...box.querySelectorAll(".listen-row")];
    const sounds = rows.map((row) => row.querySelector("audio"));
    let chosen = 0;
    let waiting = 0; // seconds at which a sound begins that has not been loaded

    const bar = make("div", { class: "listen-bar" });
    const play = make("button", { type: "button", class: "listen-play" }, "Play");
    const place = make("input", { type: "range", min: "0", max: box.dataset.seconds, step: "0.05", value: "0" });
    place.setAttribute("aria-label", `Position in ${box.getAttribute("aria-label")}`);
    const time = make("span", { class: "listen-time" });
    bar.append(play, place, time);
    box.querySelector(".listen-rows").before(bar);

    const names = rows.map((row, index) => {
      const old = row.querySelector(".listen-name");
      const button = make("button", { type: "button", class: "listen-name", "aria-pressed": "false" });
      if (index < 9) button.append(make("kbd", {}, String(index + 1)), " ");
      button.append(make("span", {}, old.textContent));
      old.replaceWith(button);
      row.querySelector(".listen-picture").append(make("span", { class: "listen-head" }));
      return button;
    });
    box.classList.add("listen-live");
    sounds.forEach((sound) => sound.removeAttribute("controls"));

    const now = () => (sounds[chosen].readyState ? sounds[chosen].currentTime : waiting);
    const length = () => sounds[chosen].duration || Number(box.dataset.seconds);

    function show() {
      const playing = !sounds[chosen].paused;
      const whole = Number(box.dataset.seconds);
      play.textContent = playing ? "Pause" : "Play";
      place.value = String(now());
      place.setAttribute("aria-valuetext", `${now().toFixed(1)} seconds of ${whole.toFixed(0)}`);
      time.textContent = `${clock(now())} / ${clock(whole)}`;
      rows.forEach((row, index) => {
        names[index].setAttribute("aria-pressed", String(index === chosen));
        row.classList.toggle("listen-chosen", index === chosen);
        row.querySelector(".listen-head").style.insetInlineStart = `${Math.min(100, (100 * now()) / whole)}%`;
      });
      if (playing) requestAnimationFrame(show);
    }

    function seek(seconds) {
      const sound = sounds[chosen];
      waiting = Math.max(0, Math.min(seconds, length() - 0.01));
      if (sound.readyState) sound.currentTime = waiting;
      show();
    }

    function start(index, seconds) {
      const sound = sounds[index];
      const other = sounds[chosen];
      chosen = index;
      waiting = seconds;
      if (other !== sound) other.pause();
      const go = () => {
        if (sounds[chosen] !== sound) return;
        sound.currentTime = Math.min(waiting, sound.duration || waiting);
        sound.play().then(show, show);
      };
      if (sound.readyState) go();
      else {
        sound.addEventListener("loadedmetadata", go, { once: true });
        sound.preload = "auto";
        sound.load();
      }
      // The others are wanted next: a change then happens at once.
      for (const next of sounds) {
        if (next.preload === "none") {
          next.preload = "auto";
          next.load();
        }
      }
    }

    const begin = () => (now() >= length() - 0.05 ? 0 : now());
    play.addEventListener("click", () => {
      if (sounds[chosen].paused) start(chosen, begin());
      else sounds[chosen].pause();
    });
    names.forEach((name, index) => name.addEventListener("click", () => start(index, begin())));
    place.addEventListener("input", () => seek(Number(place.value)));
    rows.forEach((row, index) =>
      row.querySelector(".listen-picture").addEventListener("click", (event) => {
        const shape = event.currentTarget.getBoundingClientRect();
        start(index, ((event.clientX - shape.left) / shape.width) * Number(box.dataset.seconds));
      }),
    );
    box.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const index = Number(event.key) - 1;
      if (index >= 0 && index < Math.min(9, sounds.length)) {
        event.preventDefault();
        start(index, begin());
        names[index].focus();
      }
    });
    for (const sound of sounds) for (const kind of ["play", "pause", "ended"]) sound.addEventListener(kind, show);
    show();
  }

  /* Probability of as many right answers or more by guessing. */
  function byChance(right, count) {
    let sum = 0;
    for (let k = right; k <= count; k += 1) {
      let ways = 1;
      for (let i = 0; i < k; i += 1) ways = (ways * (count - i)) / (i + 1);
      sum += ways;
    }
    return sum / 2 ** count;
  }

  function shuffled(list) {
    const result = [...list];
    for (let i = result.length - 1; i > 0; i -= 1) {
      const j = Math.floor(Math.random() * (i + 1));
      [result[i], result[j]] = [result[j], result[i]];
    }
    return result;
  }

  function blind(box) {
    const test = JSON.parse(box.dataset.test);
    const answers = [];
    let rounds = [];
    box.querySelector(".listen-needs").remove();
    const panel = make("div", { class: "listen-panel" });
    const report = make("p", { class: "listen-report", role: "status" });
    const start = make("button", { type: "button" }, "Begin the test");
    box.append(start, panel, report);

    function finish() {
      panel.textContent = "";
      const right = answers.filter((answer) => answer.right).length;
      const chance = byChance(right, answers.length);
      const odds = chance < 0.01 ? "less than 1" : Math.round(100 * chance);
      report.textContent = `${right} of ${answers.length} right. Guessing reaches that in ${odds} of 100 tests.`;
      const columns = ["trial", "clip", "a", "b", "answer", "right", "certainty", "plays_a", "plays_b"];
      const quoted = (value) => `"${String(value).replaceAll('"', '""')}"`;
      const lines = [columns, ...answers.map((answer) => columns.map((column) => answer[column]))];
      const text = lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
      const file = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
      const link = make("a", { class: "listen-export", href: file, download: "ratings.csv" }, "Download the ratings (CSV)");
      panel.append(link);
      start.textContent = "Once more";
      start.hidden = false;
      link.focus();
    }

    function round() {
      panel.textContent = "";
      if (!rounds.length) return finish();
      const { trial, swapped } = rounds.shift();
      const order = swapped ? ["other", "true"] : ["true", "other"];
      const plays = [0, 0];
      const sounds = order.map((kind) => make("audio", { src: trial[kind], preload: "auto" }));
      const number = answers.length + 1;
      panel.append(make("p", {}, `Trial ${number} of ${number + rounds.length}: ${trial.clip}`));
      const listen = make("p", {});
      sounds.forEach((sound, index) => {
        const button = make("button", { type: "button" }, `Play ${"AB"[index]}`);
        button.addEventListener("click", () => {
          const other = sounds[1 - index];
          sound.currentTime = other.paused ? 0 : other.currentTime;
          other.pause();
          plays[index] += 1;
          sound.play();
        });
        listen.append(button, " ");
      });
      const certainty = make("select", {});
      for (const [value, text] of [["1", "guessed"], ["2", "fairly sure"], ["3", "certain"]])
        certainty.append(make("option", { value }, text));
      const label = make("label", {}, "You are ");
      label.append(certainty);
      const choose = make("p", {});
      "AB".split("").forEach((letter, index) => {
        const button = make("button", { type: "button" }, `${letter} is “${test.true}”`);
        button.addEventListener("click", () => {
          sounds.forEach((sound) => sound.pause());
          answers.push({
            trial: number,
            clip: trial.clip,
            a: test[order[0]],
            b: test[order[1]],
            answer: letter,
            right: order[index] === "true",
            certainty: certainty.value,
            plays_a: plays[0],
            plays_b: plays[1],
          });
          round();
        });
        choose.append(button, " ");
      });
      panel.append(listen, label, choose);
      report.textContent = "";
      listen.querySelector("button").focus();
    }

    start.addEventListener("click", () => {
      answers.length = 0;
      start.hidden = true;
      const twice = [...test.trials, ...test.trials].slice(0, Math.max(6, test.trials.length));
      rounds = shuffled(twice).map((trial) => ({ trial, swapped: Math.random() < 0.5 }));
      round();
    });
  }

  function begin() {
    document.querySelectorAll(".listen").forEach(group);
    document.querySelectorAll(".listen-blind").forEach(blind);
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
