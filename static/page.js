// What every page has a little easier with a script: times are local, what is meant to be copied has a button,
// and a part that waits for something asks for itself again. Without this script each page is complete.
"use strict";
(() => {
  const EVERY_MS = 3000;

  // A moment within a sentence, as the server writes it; what is code or typed is left alone.
  const MOMENT = /\b(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) (\d{4}) (\d\d:\d\d:\d\d) UTC/;
  const momentsInText = (within) => {
    const texts = document.createTreeWalker(within, NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) {
      const text = texts.currentNode;
      if (MOMENT.test(text.data) && !text.parentElement.closest("time, code, pre, textarea, script, title")) found.push(text);
    }
    for (let text of found) {
      for (let met = MOMENT.exec(text.data); met; met = MOMENT.exec(text.data)) {
        const moment = text.splitText(met.index);
        text = moment.splitText(met[0].length);
        const at = new Date(`${met[1]} ${met[2]} ${met[3]} ${met[4]} UTC`);
        const time = document.createElement("time");
        time.textContent = met[0];
        if (!Number.isNaN(at.getTime())) time.dateTime = at.toISOString();
        moment.replaceWith(time);
      }
    }
  };

  // The frame's foot says once which zone the times are in.
  const localTimes = (within) => {
    momentsInText(within);
    for (const time of within.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
      const date = at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
      time.title ||= time.textContent;
      time.textContent = `${date} ${at.toLocaleTimeString("en-GB", clock)}`;
    }
  };

  const copied = (button) => {
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 2000);
  };
  const copy = async (text, button) => {
    try {
      await navigator.clipboard.writeText(text);
      copied(button);
    } catch {
      button.textContent = "Select it and copy";
    }
  };
  const copyButtons = (within) => {
    for (const box of within.querySelectorAll(".copyable, code[data-copy]")) {
      const code = box.matches("code") ? box : box.querySelector("code");
      if (!code || box.querySelector(".copy")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.addEventListener("click", () => copy(code.dataset.copy || code.textContent, button));
      box.matches("code") ? box.after(button) : box.append(button);
    }
    for (const button of within.querySelectorAll("button[data-copy]")) {
      button.hidden = false;
      button.onclick = () => {
        const wanted = button.dataset.copy;
        copy(wanted.startsWith("#") ? document.querySelector(wanted)?.textContent ?? "" : wanted, button);
      };
    }
  };

  const stand = (within) => { localTimes(within); copyButtons(within); };

  // What tells a thing from the others of a part, before the part is said anew and after it.
  const named = (it) => {
    const words = it.matches("details") ? it.querySelector("summary") : it;
    return [it.tagName, it.closest("[data-key]")?.dataset.key, it.id || it.getAttribute("href") || it.getAttribute("aria-label") || words?.textContent].join(" ");
  };
  const alike = (part, it, name) => [...part.querySelectorAll(it.tagName)].filter((other) => named(other) === name);
  const isSelected = (part) => {
    const selection = getSelection();
    return Boolean(selection) && !selection.isCollapsed && selection.containsNode(part, true);
  };

  // Says a part anew, and leaves to whoever reads it what they have in hand: what is open stays open, what has the
  // focus keeps it, and nothing is said anew while a piece of it is selected: `false` then.
  const said = new WeakMap();
  const swap = (part, text) => {
    if (text === said.get(part)) return true;
    if (isSelected(part)) return false;
    const open = [...part.querySelectorAll("details[open]")].map((it) => [it, named(it)]);
    const held = part.contains(document.activeElement) ? document.activeElement : null;
    const name = held && named(held);
    const place = held && alike(part, held, name).indexOf(held);
    said.set(part, text);
    part.innerHTML = text;
    stand(part);
    for (const [it, key] of open) for (const other of alike(part, it, key)) other.open = true;
    if (held) {
      const same = alike(part, held, name);
      const next = same[place] ?? same[0] ?? document.getElementById("main");
      next?.focus({ preventScroll: true });
      if (next && same.length) next.scrollTop = held.scrollTop;
    }
    return true;
  };
  const again = (part) => {
    const asks = async () => {
      if (!part.isConnected || !part.dataset.part) return;
      if (!document.hidden) {
        try {
          const answer = await fetch(part.dataset.part, { headers: { Accept: "text/html" } });
          if (answer.redirected) { location.reload(); return; }
          if (answer.ok) swap(part, await answer.text());
        } catch { /* asked again in a moment */ }
      }
      setTimeout(asks, Number(part.dataset.every) || EVERY_MS);
    };
    setTimeout(asks, Number(part.dataset.every) || EVERY_MS);
  };

  const zone = document.getElementById("zone");
  if (zone) zone.textContent = `Times in ${Intl.DateTimeFormat().resolvedOptions().timeZone || "this browser’s zone"}`;
  stand(document);
  // What another script brings; it is told when that has to wait.
  document.addEventListener("swap", (event) => { if (!swap(event.target, event.detail)) event.preventDefault(); });
  for (const part of document.querySelectorAll("[data-part]:not(#live)")) again(part);
})();
