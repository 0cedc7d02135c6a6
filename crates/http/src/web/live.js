"use strict";
const live = document.getElementById("live");
if (live && live.dataset.events) {
    const source = new EventSource(live.dataset.events);
    source.addEventListener("part", (event) => {
        const held = live.contains(document.activeElement) || !getSelection().isCollapsed;
        if (!held) {
            live.innerHTML = event.data;
        }
    });
    addEventListener("pagehide", () => source.close());
}
