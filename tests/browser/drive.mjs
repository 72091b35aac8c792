// Starts Chromium on a profile, plays one scenario and prints what it found and what the browser saw meanwhile, as JSON.
import { readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

const facts = JSON.parse(readFileSync(0, 'utf8'));
const context = await chromium.launchPersistentContext(facts.profile, {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
    // The tests leave the machine alone: the front end's calls to api.comfy.org find no address.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    `--ignore-certificate-errors-spki-list=${facts.trusted.join(',')}`,
  ],
  ...facts.browser,
});

// errors: what the console shows in red; refused: answers 401 and 403; requests: address and headers of all that went out.
const seen = { errors: [], refused: [], requests: [], sockets: [] };
const watch = (page) => {
  page.on('console', (message) => {
    if (message.type() === 'error') seen.errors.push(`${message.text()} [${message.location().url}]`);
  });
  page.on('pageerror', (error) => seen.errors.push(`${error.name}: ${error.message}`));
  page.on('websocket', (socket) => {
    const one = { url: socket.url(), opened: Date.now(), closed: null, texts: 0, binaries: 0, kinds: [] };
    seen.sockets.push(one);
    socket.on('framereceived', ({ payload }) => {
      if (typeof payload !== 'string') { one.binaries += 1; return; }
      one.texts += 1;
      const kind = payload.match(/"type":\s*"(\w+)"/)?.[1];
      if (kind && !one.kinds.includes(kind)) one.kinds.push(kind);
    });
    socket.on('close', () => { one.closed = Date.now(); });
  });
};
context.on('page', watch);
context.pages().forEach(watch);
context.on('response', (response) => {
  if ([401, 403].includes(response.status())) seen.refused.push(`${response.status()} ${response.request().method()} ${response.url()}`);
});
const headers = [];
context.on('request', (request) => {
  headers.push(request.allHeaders().then((all) => seen.requests.push({ method: request.method(), url: request.url(), headers: all }), () => {}));
});

let failure = null;
try {
  const { play } = await import(`./${process.argv[2]}.mjs`);
  const page = context.pages()[0] ?? await context.newPage();
  seen.found = await play({ context, page, facts, seen });
  await Promise.race([Promise.all(headers), new Promise((resolve) => { setTimeout(resolve, 2000); })]);
} catch (error) {
  failure = error;
}
if (failure) {
  const places = context.pages().map((page) => page.url());
  process.stderr.write(`${failure.stack}\npages: ${places}\n${JSON.stringify({ errors: seen.errors, refused: seen.refused })}\n`);
}
await context.close();
// The end waits until the pipe has taken all of it.
if (!failure) await new Promise((done) => { process.stdout.write(`${JSON.stringify(seen)}\n`, done); });
process.exit(failure ? 1 : 0);
