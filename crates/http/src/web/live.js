"use strict";
const live = document.getElementById("live");
if (live && live.dataset.events) {
    let source = null;
    const close = () => {
        source?.close();
        source = null;
    };
    const keep = () => {
        if (document.hidden) {
            // Browsers open few connections to one server: who is not looked at leaves them to others.
            close();
        } else if (!source || source.readyState === EventSource.CLOSED) {
            source = new EventSource(live.dataset.events);
            source.addEventListener("open", () => live.removeAttribute("data-stale"));
            source.addEventListener("error", () => live.setAttribute("data-stale", ""));
            source.addEventListener("part", (event) => {
                const held = live.contains(document.activeElement) || !getSelection().isCollapsed;
                if (!held) {
                    live.innerHTML = event.data;
                }
            });
        }
    };
    document.addEventListener("visibilitychange", keep);
    addEventListener("pagehide", close);
    keep();
}
