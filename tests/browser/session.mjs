// A whole session with the real front end: load, socket, a job with progress, preview and output, an upload, a reload.
import { NAME, graph, holdings, signIn, until } from './steps.mjs';

// An API-format workflow; Sleep reports its steps and sends previews.
const WORKFLOW = {
  1: { class_type: 'EmptyImage', inputs: { width: 64, height: 48, batch_size: 1, color: 0x3366cc } },
  2: { class_type: 'SaveImage', inputs: { images: ['1', 0], filename_prefix: 'browser' } },
  3: { class_type: 'PreviewImage', inputs: { images: ['1', 0] } },
  4: { class_type: 'Sleep', inputs: { seconds: 1, steps: 5, preview: true } },
};

const job = (page) => page.evaluate(async (workflow) => {
  const { app } = window;
  const { api } = app;
  const events = [];
  const previews = [];
  for (const name of ['execution_start', 'progress', 'progress_state', 'executed', 'execution_success', 'execution_error', 'b_preview']) {
    api.addEventListener(name, (event) => {
      events.push(name);
      if (name === 'b_preview') previews.push(event.detail);
    });
  }
  const ended = new Promise((resolve, reject) => {
    api.addEventListener('execution_success', resolve);
    api.addEventListener('execution_error', (event) => reject(new Error(JSON.stringify(event.detail))));
    setTimeout(() => reject(new Error(`no end of the job: ${events}`)), 30000);
  });
  // The front end may still be drawing its own first graph, which would take the place of ours.
  const stands = () => app.graph.nodes.some((one) => one.type === 'SaveImage');
  for (let left = 20; left > 0; left -= 1) {
    if (!stands()) app.loadApiJson(workflow, 'browser');
    await new Promise((resolve) => { setTimeout(resolve, 500); });
    if (stands()) break;
  }
  await app.queuePrompt(0);
  await ended;
  const show = (address) => new Promise((resolve) => {
    const image = new Image();
    image.onload = () => resolve(image.naturalWidth);
    image.onerror = () => resolve(0);
    document.body.append(image);
    image.src = address;
  });
  const node = (kind) => app.graph.nodes.find((one) => one.type === kind);
  const drawn = async (kind) => {
    for (let left = 100; left > 0 && !(node(kind)?.imgs?.[0]?.naturalWidth > 0); left -= 1) {
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
    return node(kind)?.imgs?.[0]?.naturalWidth ?? 0;
  };
  return {
    events: [...new Set(events)], preview: previews.length ? await show(URL.createObjectURL(previews[0])) : 0,
    output: await drawn('SaveImage'), temporary: await drawn('PreviewImage'), address: node("SaveImage")?.imgs?.[0]?.src,
  };
}, WORKFLOW);

// The queue's panel shows its results as <img> in the page.
const panel = async (page) => {
  await page.keyboard.press('q');
  const shown = page.locator('img[src*="/view"]').first();
  await shown.waitFor({ timeout: 15000 });
  return until(() => shown.evaluate((image) => image.naturalWidth), 'the picture in the queue is drawn');
};

const upload = (page) => page.evaluate(async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 20, height: 10 });
  const picture = await new Promise((resolve) => { canvas.toBlob(resolve); });
  const form = new FormData();
  form.append('image', picture, 'from-the-browser.png');
  const answer = await window.app.api.fetchApi('/upload/image', { method: 'POST', body: form });
  const { name } = await answer.json();
  const image = new Image();
  image.src = window.app.api.apiURL(`/view?filename=${encodeURIComponent(name)}&type=input`);
  await image.decode();
  return [answer.status, image.naturalWidth];
});

export const play = async ({ context, page, facts, seen }) => {
  const found = {};
  await page.goto(facts.start ?? facts.origin);
  if (facts.key) await signIn(page, facts.key, facts.remember);
  await graph(page);
  found.landed = page.url();
  const socket = await until(() => seen.sockets.find((one) => one.texts > 0), 'the front end hears its socket');
  found.socket = socket.url;
  // The first visit's template dialog lies above the graph.
  await page.keyboard.press('Escape');
  found.job = await job(page);
  if (facts.panel !== false) found.panel = await panel(page);
  found.upload = await upload(page);
  found.kept = await holdings(page);
  await page.reload();
  await graph(page);
  found.reloaded = page.url();
  await until(() => seen.sockets.filter((one) => one.texts > 0).length > 1, 'a socket after the reload');
  found.after = await holdings(page);
  found.cookies = await context.cookies();
  found.name = NAME;
  return found;
};
