// comfy-guard: gives ComfyUI's own requests the session's token, leads to the login page when the session is over, and
// offers a way out. What is kept under `comfyui_api_key` is not the key: it is a token that is worthless without the cookie.
(() => {
  'use strict';
  if (window.comfyuiLogout) return;

  const NAME = 'comfyui_api_key';
  const SESSION = '/auth_session';
  const LOGIN = '/auth_login.html';
  const nativeFetch = window.fetch;
  const NativeRequest = window.Request;

  // The token; web storage throws where the browser forbids it, and then the cookie alone has to do.
  const stored = (storage) => { try { return window[storage].getItem(NAME); } catch { return null; } };
  const forget = (storage) => { try { window[storage].removeItem(NAME); } catch { /* nothing was kept */ } };
  const token = () => stored('localStorage') || stored('sessionStorage');
  let hadSession = token() !== null;
  const keep = ({ token: value, remember }) => {
    const [to, from] = remember ? ['localStorage', 'sessionStorage'] : ['sessionStorage', 'localStorage'];
    forget(from);
    try { window[to].setItem(NAME, value); } catch { /* see above */ }
  };

  // What storage holds may be of an older session, and the guard would have to take it for a wrong key: it goes out only
  // after the guard has named it on this page. Until then the cookie and the origin speak.
  let confirmed = false;
  const confirmedToken = () => (confirmed ? token() : null);

  // Asks whether there is a session and keeps its token. false: there is none; null: the guard did not say.
  const ask = async () => {
    try {
      const answer = await nativeFetch.call(window, SESSION, {
        credentials: 'same-origin', cache: 'no-store', headers: { Accept: 'application/json' },
      });
      if (answer.status === 401) {
        hadSession ||= token() !== null;
        forget('localStorage');
        forget('sessionStorage');
        return false;
      }
      const session = answer.ok ? await answer.json() : null;
      if (typeof session?.token !== 'string') return null;
      keep(session);
      confirmed = true;
      hadSession = true;
      offerSignOut();
      return true;
    } catch {
      return null;
    }
  };
  let asking = null;
  const signedIn = () => {
    asking ??= ask().finally(() => { asking = null; });
    return asking;
  };

  // The first requests wait for that answer, but not for long.
  const asked = Promise.race([signedIn(), new Promise((resolve) => { setTimeout(resolve, 3000); })]);

  // To the login page, once.
  let leaving = false;
  const leave = (target) => {
    if (leaving) return;
    leaving = true;
    location.assign(target);
  };
  const toLogin = () => {
    // A credential in the address must not travel on in `next`.
    const query = /[?&](api_key|token)=/.test(location.search) ? '' : location.search;
    const expired = hadSession ? '&error=expired' : '';
    leave(`${LOGIN}?next=${encodeURIComponent(location.pathname + query)}${expired}`);
  };
  // ComfyUI and its custom nodes answer 401 for reasons of their own: only a session that is really over ends the page.
  const unauthorized = async () => {
    if (await signedIn() === false) toLogin();
  };

  // Ours is what goes to this very origin over http(s); `blob:` addresses have this origin too and are not.
  const ours = (url) => {
    try {
      const { protocol, origin, pathname } = new URL(url, document.baseURI);
      return (protocol === 'https:' || protocol === 'http:') && origin === location.origin && pathname !== SESSION;
    } catch {
      return false;
    }
  };

  // Fetch.
  window.fetch = async function fetch(input, init) {
    const isRequest = input instanceof NativeRequest;
    if (!ours(isRequest ? input.url : input)) return Reflect.apply(nativeFetch, window, arguments);
    // A copy keeps the signal, the body (streams too), the referrer and the rest; and the caller's objects stay as they were.
    const request = new NativeRequest(input, init);
    const own = !request.headers.has('Authorization');
    if (own) await asked;
    const sent = own ? confirmedToken() : null;
    if (sent) request.headers.set('Authorization', `Bearer ${sent}`);
    const again = own && /^(GET|HEAD)$/.test(request.method) ? request.clone() : null;
    const response = await nativeFetch.call(window, request);
    // 429: a token of before is judged as a key, and of these not many are judged at once.
    if (!own || !(response.status === 401 || (response.status === 429 && sent))) return response;
    await unauthorized();
    // Another tab may have signed in anew: the token is another one now, and what only reads can be asked once more.
    const now = confirmedToken();
    if (!again || leaving || !now || now === sent) return response;
    again.headers.set('Authorization', `Bearer ${now}`);
    return nativeFetch.call(window, again);
  };

  // XMLHttpRequest, synchronous too.
  const xhr = window.XMLHttpRequest.prototype;
  const { open, setRequestHeader, send } = xhr;
  const states = new WeakMap();
  xhr.open = function (method, url, isAsync, user) {
    const result = Reflect.apply(open, this, arguments);
    states.set(this, { ours: ours(url), authorized: user != null });
    return result;
  };
  xhr.setRequestHeader = function (name) {
    const result = Reflect.apply(setRequestHeader, this, arguments);
    const state = states.get(this);
    if (state && String(name).toLowerCase() === 'authorization') state.authorized = true;
    return result;
  };
  xhr.send = function () {
    const state = states.get(this);
    if (state?.ours && !state.authorized) {
      const sent = confirmedToken();
      if (sent) Reflect.apply(setRequestHeader, this, ['Authorization', `Bearer ${sent}`]);
      this.addEventListener('loadend', () => { if (this.status === 401) unauthorized(); }, { once: true });
    }
    return Reflect.apply(send, this, arguments);
  };

  // The way out.
  const end = (value) => nativeFetch.call(window, SESSION, {
    method: 'DELETE', credentials: 'same-origin', cache: 'no-store', keepalive: true,
    headers: value ? { Authorization: `Bearer ${value}` } : {},
  });
  window.comfyuiLogout = async () => {
    const value = token();
    forget('localStorage');
    forget('sessionStorage');
    let ended = false;
    try {
      let answer = await end(value);
      // A token of an older session is worth nothing; that the request comes from this origin is enough then.
      if (value && !answer.ok) answer = await end(null);
      ended = answer.ok || answer.status === 401;
    } catch { /* no answer: the page we go to tries again and says so */ }
    leave(ended ? `${LOGIN}?signed_out=true` : `${LOGIN}?logout=true`);
  };

  // A command "Sign out" and its menu entry, where the front end has an interface for that.
  const LABELS = { zh: '退出登录', ja: 'サインアウト', ko: '로그아웃' };
  const label = LABELS[(navigator.language || '').slice(0, 2).toLowerCase()] || 'Sign out';
  const register = (app) => {
    const id = 'ComfyGuard.SignOut';
    app.registerExtension({
      name: 'ComfyGuard.Session',
      commands: [{ id, label, menubarLabel: label, icon: 'pi pi-sign-out', function: () => window.comfyuiLogout() }],
      menuCommands: [{ path: [], commands: [id] }],
    });
  };
  let offered = false;
  // `window.app` is set when the front end has been set up; to register before that is an error in it.
  const offerSignOut = () => {
    if (offered) return;
    offered = true;
    const end = Date.now() + 10 * 60 * 1000;
    const timer = setInterval(() => {
      const app = window.app;
      if (typeof app?.registerExtension !== 'function') {
        if (Date.now() > end) clearInterval(timer);
        return;
      }
      clearInterval(timer);
      try { register(app); } catch { /* an older interface: no control, `comfyuiLogout()` and the address are there */ }
    }, 500);
  };
})();
