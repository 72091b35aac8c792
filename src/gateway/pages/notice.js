'use strict';
// Goes on by itself: asks every two seconds how ComfyUI is, tells it in words, and loads the page again when it serves.
(() => {
  const { waits, ...says } = document.getElementById('notice').dataset;
  if (waits === undefined) return;
  const write = (id, text) => {
    const place = document.getElementById(id);
    if (text && place.textContent !== text) place.textContent = text;
  };
  const ask = async () => {
    try {
      const answer = await fetch('/health', { cache: 'no-store', credentials: 'omit' });
      if (answer.ok) { location.reload(); return; }
      const { status } = await answer.json();
      write('title', says[`title_${status}`]);
      write('message', says[`message_${status}`]);
    } catch { /* the guard itself may be restarting: the next try tells */ }
    setTimeout(ask, 2000);
  };
  setTimeout(ask, 2000);
})();
