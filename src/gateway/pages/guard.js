// The status page: asks once a second while somebody can see it, shows what it is told as text and nothing else, and does two things.
(() => {
  const byId = (id) => document.getElementById(id);
  const says = byId('says').dataset;
  const lang = document.documentElement.lang;
  const PACE = 1000;
  const PATIENCE = 5000;
  const AGAIN = 60000;

  // Words and figures.

  const number = (options) => new Intl.NumberFormat(lang, options);
  const whole = number({ maximumFractionDigits: 0 });
  const tenth = number({ minimumFractionDigits: 1, maximumFractionDigits: 1 });
  const percent = (value) => number({ style: 'percent' }).format(value / 100);
  const celsius = (value) => number({ style: 'unit', unit: 'celsius' }).format(value);
  const watts = (milliwatts) => `${tenth.format(milliwatts / 1000)} W`;
  const bytes = (value) => {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    const power = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), 4);
    return `${power === 0 ? whole.format(value) : tenth.format(value / 1024 ** power)} ${units[power]}`;
  };
  const span = (seconds) => {
    const parts = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
    let first = parts.findIndex(([, length]) => seconds >= length);
    if (first < 0) first = 3;
    let rest = Math.max(seconds, 0);
    return parts.slice(first, first + 2).map(([unit, length]) => {
      const count = Math.floor(rest / length);
      rest -= count * length;
      return number({ style: 'unit', unit, unitDisplay: 'short' }).format(count);
    }).join(' ');
  };
  const moment = new Intl.DateTimeFormat(lang, { dateStyle: 'medium', timeStyle: 'medium' });
  const when = (seconds) => moment.format(seconds * 1000);
  const of = (used, total) => (total ? says.of.replace('{used}', bytes(used)).replace('{total}', bytes(total)) : bytes(used));

  // Text of others, ComfyUI's above all, cannot turn the reading direction of what stands around it, nor hide. Colours of a terminal go.
  const plain = (text) => String(text).replace(/(?:\u001b|\\u\{1b\})\[[0-9;]*m/g, '')
    .replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);

  const put = (place, text, value = text) => {
    if (place.textContent !== text) place.textContent = text;
    place.dataset.value = value ?? '';
  };
  // A row with nothing to say is not shown.
  const row = (id, text, value = text) => {
    const place = byId(id);
    const known = ![null, undefined, false, ''].includes(text);
    place.parentElement.hidden = !known;
    put(place, known ? String(text) : '', known ? value : '');
  };
  const made = (name, text, className) => Object.assign(document.createElement(name), { textContent: text, className: className ?? '' });

  // What is shown.

  let shown = null;
  // Where no GPU is wanted nothing is wrong with that.
  const harmless = ({ name }) => name === 'gpu_absent';
  const showState = ({ state, healthy, conditions, at }) => {
    const warns = healthy && conditions.some((one) => !harmless(one));
    put(byId('word'), state);
    byId('word').className = `word ${healthy ? (warns ? 'warn' : 'ok') : 'bad'}`;
    put(byId('sentence'), healthy ? says.served : says.closed);
    document.title = `${state} · ComfyUI`;
    const drawn = JSON.stringify(conditions) + Math.floor(at / 10);
    if (byId('conditions').dataset.drawn === drawn) return;
    byId('conditions').dataset.drawn = drawn;
    byId('conditions').replaceChildren(...conditions.map((one) => {
      const item = made('li', '', harmless(one) ? 'harmless' : one.serves ? 'serves' : '');
      const head = made('p', '');
      const name = made('strong', one.name);
      name.lang = 'en';
      head.append(name);
      if (one.since) head.append(` ${says.since.replace('{time}', when(one.since))} (${span(at - one.since)})`);
      if (one.serves && !healthy) head.append(` · ${says.serves}`);
      item.append(head);
      for (const [label, text] of [[says.cause, one.cause], [says.cure, one.cure]]) {
        if (!text) continue;
        const line = made('p', `${label}: `);
        const words = made('span', '');
        words.lang = 'en';
        // A command stands between backquotes.
        words.append(...plain(text).split('`').map((part, order) => (order % 2 ? made('code', part) : part)));
        line.append(words);
        item.append(line);
      }
      return item;
    }));
  };

  // Seconds of processors are a share of one only against another look at them.
  let looked = null;
  const share = (usage, at) => {
    const before = looked;
    const known = usage?.cpu_seconds ?? null;
    looked = known === null ? null : { seconds: known, at };
    if (!before || known === null || at <= before.at || known < before.seconds) return null;
    return (100 * (known - before.seconds)) / (at - before.at);
  };
  const showComfyui = ({ comfyui, at }) => {
    const { usage, last_exit: exit } = comfyui;
    put(byId('running'), String(comfyui.running));
    put(byId('pending'), String(comfyui.pending));
    put(byId('jobs-done'), String(comfyui.jobs_done));
    put(byId('jobs-failed'), String(comfyui.jobs_failed));
    const progress = comfyui.running > 0 ? comfyui.progress : null;
    byId('progress').hidden = progress === null || progress === undefined;
    byId('bar').value = progress ?? 0;
    put(byId('percent'), percent(progress ?? 0), progress);
    row('process', comfyui.process);
    row('pid', comfyui.pid);
    row('comfyui-version', comfyui.version && plain(comfyui.version));
    row('device', comfyui.device && plain(comfyui.device));
    row('uptime', comfyui.serving_since && span(at - comfyui.serving_since), comfyui.serving_since);
    row('memory', usage?.memory_bytes != null && of(usage.memory_bytes, usage.memory_limit_bytes), usage?.memory_bytes);
    const load = share(usage, at);
    row('processor', load !== null && percent(load), load);
    row('tasks', usage?.tasks);
    row('disk-read', usage?.read_bytes != null && bytes(usage.read_bytes), usage?.read_bytes);
    row('disk-written', usage?.written_bytes != null && bytes(usage.written_bytes), usage?.written_bytes);
    row('restarts', comfyui.restarts);
    row('crashes', comfyui.crashes);
    row('last-exit', exit && `${plain(exit.how)} (${when(exit.at)})`, exit?.at);
    byId('restart').hidden = comfyui.process === 'external';
    byId('restart').disabled = acting;
  };

  const showLines = ({ comfyui }) => {
    const place = byId('lines');
    const lines = comfyui.last_lines;
    const drawn = lines.join('\n');
    if (place.dataset.drawn === drawn) return;
    // It follows for as long as the reader is at its end.
    const follows = place.scrollHeight - place.scrollTop - place.clientHeight < 24;
    place.dataset.drawn = drawn;
    place.replaceChildren(...(lines.length ? lines.map((line) => made('div', plain(line))) : [made('div', says.no_lines, 'soft')]));
    if (follows) place.scrollTop = place.scrollHeight;
  };

  const showGuard = ({ guard, at }) => {
    row('guard-version', guard.version);
    row('guard-started', guard.started ? when(guard.started) : null, guard.started);
    row('guard-pid', guard.pid || null);
    row('addresses', guard.addresses.join(', '));
    row('certificate-ends', `${when(guard.certificate_ends)} (${span(guard.certificate_ends - at)})`, guard.certificate_ends);
    row('authentication', guard.authentication ? says.yes : says.no, guard.authentication);
    row('key-set', guard.key_set && when(guard.key_set), guard.key_set);
    for (const name of ['sessions', 'connections', 'websockets']) row(name, guard[name]);
    row('gateway-restarts', guard.gateway_restarts);
    row('sensor-restarts', guard.sensor_restarts);
    row('fingerprint', guard.fingerprint);
    for (const id of ['everywhere', 'sign-out']) byId(id).hidden = !guard.authentication;
    const pairs = guard.sandbox.map(({ process, by }) => {
      const pair = made('div', '');
      pair.append(made('dt', process), made('dd', plain(by)));
      return pair;
    });
    byId('sandbox').replaceChildren(...pairs);
    byId('sandbox-title').hidden = pairs.length === 0;
    byId('refusals').tBodies[0].replaceChildren(...guard.refusals.map((one) => {
      const line = made('tr', '');
      line.append(...[when(one.at), one.peer, one.error, String(one.count)].map((text) => made('td', plain(text))));
      return line;
    }));
    byId('no-refusals').hidden = guard.refusals.length > 0;
    byId('refusals').parentElement.hidden = guard.refusals.length === 0;
  };

  // GPUs and the last hour.

  let points = [];
  const queuePlot = new Plot(byId('queue-plot'), (value) => whole.format(value), says);
  const cards = new Map();
  const card = ({ index }) => {
    if (!cards.has(index)) {
      const one = byId('gpu').content.firstElementChild.cloneNode(true);
      const plot = (name, format) => new Plot(one.querySelector(`[data-of=${name}]`), format, says);
      const title = one.querySelector('h2');
      title.id = `gpu-${index}`;
      one.setAttribute('aria-labelledby', title.id);
      cards.set(index, { one, memory: plot('memory', bytes), utilisation: plot('utilisation', percent), temperature: plot('temperature', celsius) });
    }
    return cards.get(index);
  };
  const showGpus = ({ gpu, at }) => {
    const listed = gpu?.gpus ?? [];
    const places = listed.map((one) => {
      const held = card(one);
      const { one: place, memory, utilisation, temperature } = held;
      const versions = gpu.driver ? says.driver.replace('{driver}', plain(gpu.driver)).replace('{cuda}', plain(gpu.cuda ?? '?')) : '';
      put(place.querySelector('h2'), plain(`GPU ${one.index}${one.name ? ` · ${one.name}` : ''}`), one.index);
      put(place.querySelector('p.soft'), versions);
      put(place.querySelector('.lost'), one.lost ? says.lost : '');
      const power = one.power_milliwatts ?? null;
      const limit = one.power_limit_milliwatts ?? null;
      place.querySelector('.tiles').hidden = power === null;
      if (power !== null) {
        const both = limit === null ? watts(power) : says.of.replace('{used}', watts(power)).replace('{total}', watts(limit));
        put(place.querySelector('.power'), both, power);
      }
      const known = (value, text) => (value === null || value === undefined ? '–' : text(value));
      memory.now(known(one.memory, ({ used, total }) => of(used, total)), one.memory?.used);
      utilisation.now(known(one.utilisation_percent, percent), one.utilisation_percent);
      temperature.now(known(one.temperature_celsius, celsius), one.temperature_celsius);
      const line = (field) => points.map((point) => [point.at, point.gpus.find(({ index }) => index === one.index)?.[field] ?? null]);
      const used = line('memory_used');
      // A GPU that is lost tells nothing any more.
      held.total = one.memory?.total ?? held.total ?? used.reduce((most, [, value]) => Math.max(most, value ?? 0), 1);
      memory.draw(used, at, held.total);
      utilisation.draw(line('utilisation_percent'), at, 100);
      temperature.draw(line('temperature_celsius'), at, 100);
      return place;
    });
    if (listed.length === 0 && gpu?.state && gpu.state !== 'unknown') {
      const none = made('section', '', 'card wide none');
      none.append(made('h2', says.no_gpu), made('p', plain(gpu.why ?? gpu.state), 'soft'));
      none.lastChild.lang = 'en';
      places.push(none);
    }
    // Only what changed is moved: a plot that somebody looks at keeps the pointer and the focus.
    const now = [...byId('gpus').children];
    if (now.length !== places.length || places.some((place, order) => place !== now[order])) byId('gpus').replaceChildren(...places);
  };
  const showQueue = ({ comfyui, at }) => {
    const line = points.map((point) => [point.at, point.queue]);
    const highest = line.reduce((most, [, value]) => Math.max(most, value ?? 0), 0);
    const length = comfyui.running + comfyui.pending;
    queuePlot.now(whole.format(length), length);
    queuePlot.draw(line, at, Math.max(4, highest));
  };
  const note = ({ at, comfyui, gpu }) => {
    const gpus = (gpu?.gpus ?? []).filter(({ lost }) => !lost).map((one) => ({ ...one, memory_used: one.memory?.used ?? null }));
    const serves = ['running', 'external'].includes(comfyui.process);
    if (at > (points.at(-1)?.at ?? 0)) points.push({ at, queue: serves ? comfyui.running + comfyui.pending : null, gpus });
  };

  // Asking.

  const leave = (address) => { location.replace(address); };
  const get = async (path) => {
    const answer = await fetch(path, { cache: 'no-store', credentials: 'same-origin', redirect: 'error', signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status === 401) leave('/auth_login.html?next=%2Fguard%2F&error=expired');
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  };
  let silentSince = null;
  let historyDue = 0;
  const ask = async () => {
    try {
      if (Date.now() >= historyDue) {
        const { hour, minute } = await get('history.json');
        points = [...hour.filter(({ at }) => at < (minute[0]?.at ?? Infinity)), ...minute];
        historyDue = Date.now() + AGAIN;
      }
      const status = await get('status.json');
      note(status);
      for (const show of [showState, showComfyui, showQueue, showGpus, showLines, showGuard]) show(status);
      shown = status;
      silentSince = null;
    } catch {
      silentSince ??= Date.now() / 1000;
    }
    document.body.classList.toggle('stale', silentSince !== null);
    put(byId('silence'), silentSince === null ? '' : says.no_answer.replace('{time}', when(silentSince)));
  };
  // One round at a time, and none that nobody sees.
  let asks = false;
  const go = async () => {
    if (asks) return;
    asks = true;
    while (!document.hidden) {
      const next = Date.now() + PACE;
      await ask();
      await new Promise((resolve) => { setTimeout(resolve, Math.max(next - Date.now(), 100)); });
    }
    asks = false;
  };
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    historyDue = 0;
    go();
  });

  // Acting.

  let acting = false;
  const tell = (text, good) => {
    byId('done').className = `said ${good ? 'good' : 'bad'}`;
    put(byId('done'), text);
  };
  // The session's token, asked for anew: another tab may have signed in again. Where no key is needed there is none.
  const proof = async () => {
    const answer = await fetch('/auth_session', { cache: 'no-store', credentials: 'same-origin', headers: { Accept: 'application/json' } });
    const { token } = answer.ok ? await answer.json() : {};
    return token ? { Authorization: `Bearer ${token}` } : {};
  };
  const act = async (path) => {
    acting = true;
    byId('restart').disabled = true;
    try {
      const answer = await fetch(path, { method: 'POST', headers: await proof(), cache: 'no-store', credentials: 'same-origin', redirect: 'error' });
      if (answer.ok) return true;
      if (answer.status === 401) leave('/auth_login.html?next=%2Fguard%2F&error=expired');
      else if (answer.status === 429) tell(says.too_soon.replace('{seconds}', answer.headers.get('Retry-After') ?? '1'), false);
      else tell(says.refused.replace('{status}', String(answer.status)), false);
    } catch {
      tell(says.offline, false);
    } finally {
      acting = false;
      byId('restart').disabled = false;
    }
    return false;
  };
  const asked = (id, then) => {
    const dialog = byId(id);
    dialog.addEventListener('close', () => { if (dialog.returnValue === 'yes') then(); });
    return () => { dialog.returnValue = ''; dialog.showModal(); };
  };
  const askRestart = asked('ask-restart', async () => { if (await act('restart')) tell(says.restarting, true); });
  byId('restart').addEventListener('click', () => {
    const count = shown ? shown.comfyui.running + shown.comfyui.pending : 0;
    put(byId('ask-restart-jobs'), count ? says.restart_jobs.replace('{count}', whole.format(count)) : says.restart_no_jobs, count);
    askRestart();
  });
  byId('everywhere').addEventListener('click', asked('ask-everywhere', async () => {
    if (!await act('sign_out_everywhere')) return;
    for (const storage of ['localStorage', 'sessionStorage']) {
      try { window[storage].removeItem('comfyui_api_key'); } catch { /* nothing was kept */ }
    }
    leave('/auth_login.html?signed_out=true');
  }));

  go();
})();
