// Keeps the numbers live: each event of the log, and each word that the sums moved, asks the server for
// the same page part again, so there is one template and one truth. Without this script the page is
// complete but still.
"use strict";
(() => {
  const live = document.getElementById("live");
  const feed = document.getElementById("feed");
  const QUIET_MS = 400, REFRESH_MS = 30000;
  let waiting = 0, busy = false, again = false, held = false;

  const hashes = () => new Set([...live.querySelectorAll("[data-hash]")].map((row) => row.dataset.hash));

  const refresh = async () => {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(live.dataset.part, { headers: { Accept: "text/html" } });
      if (answer.redirected) { location.assign("/login"); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const before = hashes();
      const swap = new CustomEvent("swap", { detail: await answer.text(), bubbles: true, cancelable: true });
      held = !live.dispatchEvent(swap);
      if (held) return;
      for (const row of live.querySelectorAll("[data-hash]")) {
        row.classList.toggle("fresh", !before.has(row.dataset.hash));
      }
      const today = live.querySelector(".figure");
      if (today) document.title = `${today.textContent} today · Tollhouse`;
    } catch {
      feed.textContent = "Not reachable. Trying again.";
    } finally {
      busy = false;
      if (again) { again = false; soon(); }
    }
  };
  const soon = () => { waiting ||= setTimeout(() => { waiting = 0; refresh(); }, QUIET_MS); };

  const stream = new EventSource(`/api/v1/events?after=${live.dataset.after}`);
  stream.onopen = () => { feed.textContent = "Live"; };
  stream.onmessage = soon;
  stream.addEventListener("sums", soon);
  stream.onerror = () => {
    feed.textContent = stream.readyState === EventSource.CLOSED ? "No longer live. Reload the page." : "Not reachable. Trying again.";
  };
  // What waited for a selection to end.
  document.addEventListener("selectionchange", () => { if (held && getSelection()?.isCollapsed) soon(); });
  setInterval(() => { if (!document.hidden) soon(); }, REFRESH_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
})();
