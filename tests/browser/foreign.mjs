// A signed-in browser meets another site: what its page can do to the guard, and what the guard's page tells it.
import { graph, signIn, until } from './steps.mjs';

// From the other site's page. `read` holds whatever text it got to see.
const attack = (page, target) => page.evaluate(async (origin) => {
  const found = { read: [], failed: 0, frames: 0 };
  const calls = [
    ['/queue', { credentials: 'include' }],
    ['/prompt', { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'application/json' }, body: '{"prompt": {}}' }],
    ['/prompt', { method: 'POST', credentials: 'include', mode: 'no-cors', headers: { 'Content-Type': 'text/plain' }, body: '{"prompt": {}}' }],
    ['/queue', { method: 'POST', credentials: 'include', mode: 'no-cors', body: '{"clear": true}' }],
    ['/interrupt', { method: 'POST', credentials: 'include', mode: 'no-cors' }],
    ['/auth_session', { credentials: 'include' }],
    ['/auth_session', { method: 'DELETE', credentials: 'include' }],
    ['/auth_session', { method: 'POST', credentials: 'include', mode: 'no-cors', body: new URLSearchParams({ logout: 'true' }) }],
    ['/health', { credentials: 'include' }],
  ];
  for (const [path, init] of calls) {
    try {
      const answer = await fetch(origin + path, init);
      if (answer.type !== 'opaque') found.read.push(`${path} ${await answer.text()}`);
    } catch { found.failed += 1; }
  }
  // A form needs no permission to be sent.
  for (const [path, fields] of [['/interrupt', {}], ['/upload/image', { subfolder: 'x' }], ['/auth_session', { logout: 'true' }], ['/auth_session', { key: 'x' }]]) {
    const frame = Object.assign(document.createElement('iframe'), { name: `frame${found.frames}` });
    const form = Object.assign(document.createElement('form'), { method: 'post', action: origin + path, target: frame.name });
    for (const name in fields) form.append(Object.assign(document.createElement('input'), { name, value: fields[name] }));
    document.body.append(frame, form);
    const done = new Promise((resolve) => { frame.onload = resolve; setTimeout(resolve, 3000); });
    form.submit();
    await done;
    found.frames += 1;
  }
  const socket = (address) => new Promise((resolve) => {
    const one = new WebSocket(address);
    const heard = [];
    one.onmessage = ({ data }) => heard.push(typeof data === 'string' ? JSON.parse(data).type : 'binary');
    one.onopen = () => setTimeout(() => resolve(heard), 2500);
    one.onerror = () => resolve('refused');
  });
  found.sockets = await Promise.all(
    ['/ws', '/ws?clientId=foreign', '/api/ws', '/_standin/push?count=9'].map((path) => socket(origin.replace('https', 'wss') + path)),
  );
  const framed = Object.assign(document.createElement('iframe'), { src: origin, id: 'framed' });
  document.body.append(framed);
  await new Promise((resolve) => { framed.onload = resolve; setTimeout(resolve, 4000); });
  try { found.framed = framed.contentDocument?.body.innerText ?? 'closed'; } catch { found.framed = 'closed'; }
  return found;
}, target);

// From ComfyUI's own page to the other site.
const outward = (page, other) => page.evaluate(async (origin) => {
  await fetch(`${origin}/out-fetch`);
  await fetch(new Request(`${origin}/out-request`, { method: 'POST', body: 'x' }));
  await fetch(new URL(`${origin}/out-credentials`), { credentials: 'include' });
  await new Promise((resolve) => {
    const call = new XMLHttpRequest();
    call.open('GET', `${origin}/out-xhr`);
    call.onloadend = resolve;
    call.send();
  });
  await new Promise((resolve) => {
    const image = new Image();
    image.onload = resolve;
    image.onerror = resolve;
    image.src = `${origin}/out-image`;
  });
  navigator.sendBeacon(`${origin}/out-beacon`, 'x');
  await new Promise((resolve) => { setTimeout(resolve, 500); });
}, other);

export const play = async ({ context, page, facts, seen }) => {
  await page.goto(facts.origin);
  await signIn(page, facts.key);
  await graph(page);
  await until(() => seen.sockets.find((one) => one.texts > 0), 'the front end hears its socket');
  const found = {};
  await outward(page, facts.other);
  const evil = await context.newPage();
  await evil.goto(`${facts.other}/page`);
  // A job runs meanwhile, so that there is something to hear.
  const prompt = { 1: { class_type: 'Sleep', inputs: { seconds: 60, steps: 300, preview: true } } };
  found.job = await page.evaluate((body) => window.app.api.fetchApi('/prompt', { method: 'POST', body }).then((answer) => answer.status),
    JSON.stringify({ prompt }));
  Object.assign(found, await attack(evil, facts.origin));
  found.running = await page.evaluate(() => fetch('/queue').then((answer) => answer.json()).then((queue) => queue.queue_running.length));
  found.frame = evil.frames().map((frame) => frame.url());
  // A link from there is a visit like any other.
  await evil.evaluate((origin) => { document.body.innerHTML = `<a href="${origin}/">go</a>`; }, facts.origin);
  await evil.click('a');
  await graph(evil);
  found.still = await page.evaluate(() => fetch('/queue').then((answer) => answer.status));
  found.cookies = await context.cookies(facts.origin);
  found.token = await page.evaluate(() => sessionStorage.comfyui_api_key);
  return found;
};
