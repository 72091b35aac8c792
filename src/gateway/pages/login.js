'use strict';
// The server's page works by itself; this makes it quicker and keeps the session's token in the browser's storage.
(() => {
  const NAME = 'comfyui_api_key';
  const byId = (id) => document.getElementById(id);
  const says = byId('says').dataset;
  const key = byId('key');
  const button = byId('login');
  const title = button.textContent;

  // Web storage throws where the browser forbids it. The cookie alone carries the session then.
  const forget = (storage) => { try { window[storage].removeItem(NAME); } catch { /* nothing was kept */ } };
  const keep = (storage, token) => { try { window[storage].setItem(NAME, token); } catch { /* see above */ } };
  const kept = (storage) => { try { return window[storage].getItem(NAME); } catch { return null; } };

  // The number of seconds counts down on the page; `role="timer"` keeps a screen reader from saying each.
  let clock = 0;
  const say = (place, text, seconds) => {
    clearInterval(clock);
    const [before, after = ''] = text.split('{seconds}');
    if (seconds === undefined || !text.includes('{seconds}')) { place.textContent = text; return; }
    const timer = document.createElement('span');
    timer.setAttribute('role', 'timer');
    timer.textContent = seconds;
    place.replaceChildren(before, timer, after);
    countDown(timer, seconds);
  };
  const countDown = (timer, seconds) => {
    const end = Date.now() + seconds * 1000;
    button.setAttribute('aria-disabled', 'true');
    clock = setInterval(() => {
      const left = Math.ceil((end - Date.now()) / 1000);
      timer.textContent = Math.max(left, 0);
      if (left > 0) return;
      button.removeAttribute('aria-disabled');
      say(byId('error'), '');
      say(byId('good'), says.again);
    }, 250);
  };
  const fail = (text, seconds) => {
    say(byId('good'), '');
    say(byId('error'), text, seconds);
    key.focus();
  };

  const reveal = byId('reveal');
  const show = (shown) => {
    key.type = shown ? 'text' : 'password';
    reveal.setAttribute('aria-pressed', String(shown));
    reveal.title = shown ? says.hide : says.show;
  };
  reveal.hidden = false;
  reveal.addEventListener('click', () => { show(key.type === 'password'); key.focus(); });
  key.addEventListener('input', () => key.removeAttribute('aria-invalid'));

  const refused = (status, wait) => {
    const seconds = Number.parseInt(wait ?? '', 10);
    if (status === 401) {
      key.setAttribute('aria-invalid', 'true');
      key.select();
      fail(says.wrong);
    } else if (status === 429) {
      fail(says.busy, seconds > 0 ? seconds : 1);
    } else if (status === 403) {
      fail(says.crossSite);
    } else if (status === 503) {
      fail(says.noKey);
    } else {
      fail(says.unexpected.replace('{status}', status));
    }
  };

  const signedIn = async (answer, next) => {
    let known = {};
    try { known = await answer.json(); } catch { /* the cookie is set all the same */ }
    const [to, from] = known.remember ? ['localStorage', 'sessionStorage'] : ['sessionStorage', 'localStorage'];
    forget(from);
    if (typeof known.token === 'string') keep(to, known.token);
    const target = new URL(known.next ?? next, location.origin);
    location.replace(target.origin === location.origin ? target.href : '/');
  };

  let asking = false;
  byId('enter-form').addEventListener('submit', async (event) => {
    event.preventDefault();
    if (asking || button.getAttribute('aria-disabled') === 'true') return;
    if (navigator.cookieEnabled === false) { fail(says.noCookies); return; }
    asking = true;
    const form = new FormData(event.target);
    const next = form.get('next');
    const body = JSON.stringify({ key: form.get('key'), remember: form.has('remember'), next });
    show(false);
    button.textContent = says.asking;
    button.setAttribute('aria-disabled', 'true');
    let answer;
    try {
      answer = await fetch('/auth_session', {
        method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'application/json' },
        body, credentials: 'same-origin', cache: 'no-store', redirect: 'error',
      });
    } catch { /* no answer: said below */ }
    if (answer?.ok) { await signedIn(answer, next); return; }
    asking = false;
    button.textContent = title;
    button.removeAttribute('aria-disabled');
    if (answer) refused(answer.status, answer.headers.get('Retry-After')); else fail(says.offline);
  });

  const end = (token) => fetch('/auth_session', {
    method: 'DELETE', headers: token ? { Authorization: `Bearer ${token}` } : {}, credentials: 'same-origin', cache: 'no-store',
  });
  const signOut = async () => {
    const token = kept('localStorage') ?? kept('sessionStorage');
    forget('localStorage');
    forget('sessionStorage');
    let ended = false;
    try {
      let answer = await end(token);
      // A token of an older session is worth nothing; that the request comes from this very page is enough then.
      if (token && !answer.ok) answer = await end(null);
      ended = answer.ok || answer.status === 401;
    } catch { /* no answer: said below */ }
    if (!ended) { byId('leave-error').textContent = says.signOutFailed; return; }
    // Loading the page again must not end the next session.
    history.replaceState(null, '', '/auth_login.html');
    byId('leave').hidden = true;
    byId('enter').hidden = false;
    document.title = says.loginTitle;
    say(byId('good'), says.signedOut);
    key.focus();
  };
  byId('leave-form').addEventListener('submit', (event) => { event.preventDefault(); signOut(); });

  const waiting = document.querySelector('#error [role="timer"]');
  if (waiting) countDown(waiting, Number.parseInt(waiting.textContent, 10));
  if (!byId('leave').hidden) signOut();
})();
