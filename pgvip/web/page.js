"use strict";
(() => {
  const main = document.querySelector("main"), live = document.getElementById("live");
  let seen = live.textContent, busy = false;
  const reading = () => document.hidden || busy || !getSelection().isCollapsed;
  async function update() {
    if (reading()) return;
    busy = true;
    try {
      const answer = await fetch("fragment" + location.search, {cache: "no-store", signal: AbortSignal.timeout(8000)});
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      const open = Array.from(main.querySelectorAll("details[open]"), (one) => one.id);
      const active = document.activeElement, focus = active && (active.id || active.parentElement.id);
      main.innerHTML = text;
      for (const id of open) {
        const one = document.getElementById(id);
        if (one) one.open = true;
      }
      const again = focus && document.getElementById(focus);
      const target = again && (again.matches("a") ? again : again.firstElementChild);
      if (target) target.focus({preventScroll: true});
      const said = main.firstElementChild.dataset;
      document.title = said.title;
      live.textContent = seen = said.at;
      document.body.classList.remove("lost");
    } catch (error) {
      live.textContent = "no answer; shown as of " + seen;
      document.body.classList.add("lost");
    } finally {
      busy = false;
    }
  }
  main.addEventListener("click", (event) => {
    const link = event.target.closest(".ranges a");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    history.replaceState(null, "", link.href);
    update();
  });
  setInterval(update, 3000);
  document.addEventListener("visibilitychange", update);
})();
