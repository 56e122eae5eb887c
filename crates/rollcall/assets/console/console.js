// What the console does only with JavaScript: it tells the hub the reader's time zone, copies values, and
// keeps no more. Every page works without it.
(() => {
  "use strict";
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const kept = document.cookie.split("; ").find((pair) => pair.startsWith("rollcall_zone="));
  if (zone && kept !== `rollcall_zone=${encodeURIComponent(zone)}`) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie =
      `rollcall_zone=${encodeURIComponent(zone)}; Path=/console; Max-Age=31536000; SameSite=Lax${secure}`;
  }

  const show = (root) => {
    for (const button of root.querySelectorAll("button[data-copy]")) {
      button.hidden = !navigator.clipboard;
    }
  };
  show(document);
  document.addEventListener("htmx:load", (event) => show(event.detail.elt));

  // Only the list is scrolled: with scrollIntoView the keyboard would begin here, behind the skip link.
  const tab = document.querySelector(".tabs [aria-current]");
  if (tab) {
    const [tabs, here] = [tab.closest(".tabs"), tab.getBoundingClientRect()];
    const all = tabs.getBoundingClientRect();
    tabs.scrollLeft += here.left + here.width / 2 - all.left - all.width / 2;
  }

  // How many a choice covers follows what is ticked, in place of the button that counts.
  for (const form of document.querySelectorAll("form[data-count]")) {
    const button = form.querySelector("[data-counts]");
    button.hidden = true;
    let last = 0;
    form.addEventListener("change", async (event) => {
      if (event.target.type !== "checkbox") return;
      const asked = ++last;
      try {
        const body = new URLSearchParams(new FormData(form));
        const answer = await fetch(form.dataset.count, { method: "POST", body, redirect: "error" });
        if (!answer.ok) throw new Error(answer.status);
        const words = await answer.text();
        if (asked === last) form.querySelector("[data-counted]").textContent = words;
      } catch {
        button.hidden = false;
      }
    });
  }

  // A part that is followed live waits with what is new as long as somebody is in it or has opened something there.
  const held = new Map();
  const isBusy = (part) => part.contains(document.activeElement) || part.querySelector("details[open]");
  document.addEventListener("htmx:sseBeforeMessage", (event) => {
    held.delete(event.target);
    if (isBusy(event.target)) {
      held.set(event.target, event.detail.data);
      event.preventDefault();
    }
  });
  const settle = () =>
    setTimeout(() => {
      for (const [part, text] of held) {
        if (isBusy(part)) continue;
        held.delete(part);
        htmx.swap(part, text, { swapStyle: "innerHTML" });
      }
    });
  document.addEventListener("focusout", settle);
  document.addEventListener("toggle", settle, true);

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent.trim());
    const words = button.innerHTML;
    button.textContent = button.dataset.copied;
    setTimeout(() => (button.innerHTML = words), 1500);
  });
})();
