// Refreshes the page in place, and shows how fast the counters grow. Without
// it the page reloads itself, and Pause is a link.
"use strict";
(() => {
  const status = document.getElementById("status");
  const toggle = document.getElementById("toggle");
  const every = 1000 * Number(document.body.dataset.refresh);
  let paused = document.body.dataset.paused === "true";
  let timer = 0;

  // counters returns the counters of a page by name, and when they were read.
  const counters = (main) => ({
    time: Number(main.dataset.time),
    values: new Map([...main.querySelectorAll("[data-rate]")].map((e) => [e.dataset.rate, Number(e.value)])),
  });

  const showRates = (main, before) => {
    const elapsed = (Number(main.dataset.time) - before.time) / 1000;
    for (const e of main.querySelectorAll("[data-rate]")) {
      const grown = Number(e.value) - before.values.get(e.dataset.rate);
      if (!(elapsed > 0) || !(grown >= 0)) continue; // new, or its stream is another
      const rate = document.createElement("small");
      rate.className = "rate";
      rate.textContent = ` ${Math.round(grown / elapsed).toLocaleString("en")}/s`;
      e.after(rate);
    }
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (!response.ok) throw new Error(response.status);
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      if (paused) return;
      const main = document.querySelector("main");
      const next = document.importNode(fresh.querySelector("main"), true);
      showRates(next, counters(main));
      const scrolled = [...main.querySelectorAll(".scroll")].map((e) => e.scrollLeft);
      main.replaceWith(next);
      next.querySelectorAll(".scroll").forEach((e, i) => { e.scrollLeft = scrolled[i] || 0; });
      document.querySelector("footer").textContent = fresh.querySelector("footer").textContent;
      show("live");
    } catch {
      show("no answer");
    }
  };

  const show = (text) => {
    status.className = text === "no answer" ? "bad" : "";
    if (status.textContent !== text) status.textContent = text;
  };

  const schedule = () => {
    clearTimeout(timer);
    if (!paused) timer = setTimeout(() => refresh().finally(schedule), every);
  };

  toggle.addEventListener("click", (event) => {
    event.preventDefault();
    paused = !paused;
    toggle.textContent = paused ? "Resume" : "Pause";
    show(paused ? "paused" : "live");
    if (!paused) refresh();
    schedule();
  });
  schedule();
})();
