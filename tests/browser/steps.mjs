// What several scenarios do or ask.
export const NAME = 'comfyui_api_key';

// Types the key into the login page that `page` shows.
export const signIn = async (page, key, remember = false) => {
  await page.waitForSelector('#key');
  await page.fill('#key', key);
  if (remember) await page.check('[name=remember]');
  await page.click('#login');
};

// Waits until the front end has set itself up and draws a graph.
export const graph = (page) => page.waitForFunction(
  () => window.app?.graph && typeof window.app.registerExtension === 'function' && document.querySelector('canvas')?.width > 0,
  null, { timeout: 90000 },
);

// Everything that a page could find: both storages, its cookies, its text and address.
export const holdings = (page) => page.evaluate(() => ({
  local: { ...localStorage }, session: { ...sessionStorage }, cookie: document.cookie, address: location.href,
  page: document.documentElement.outerHTML, referrer: document.referrer,
}));

export const until = async (condition, what, within = 15000) => {
  const end = Date.now() + within;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`not within ${within} ms: ${what}`);
    await new Promise((resolve) => { setTimeout(resolve, 25); });
  }
};
