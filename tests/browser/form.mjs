// The login page as a plain form: no JavaScript, the keyboard alone.
export const play = async ({ context, page, facts }) => {
  const found = {};
  const submit = async (key) => {
    await page.focus('#key');
    await page.keyboard.type(key);
    await page.keyboard.press('Enter');
    await page.waitForLoadState('load');
  };
  await page.goto(`${facts.origin}/auth_login.html?next=${encodeURIComponent('/queue?from=form')}`);
  await submit('0'.repeat(64));
  await page.waitForURL(/error=wrong/);
  found.wrong = { address: page.url(), said: await page.textContent('#error'), cookies: await context.cookies() };
  await submit(facts.key);
  await page.waitForURL(/\/queue/);
  found.right = { address: page.url(), text: await page.textContent('body'), cookies: await context.cookies() };
  await page.goto(`${facts.origin}/auth_login.html?logout=true`);
  found.link = { cookies: await context.cookies() };
  await page.click('#leave-form button');
  await page.waitForURL(/signed_out/);
  found.out = { address: page.url(), said: await page.textContent('#good'), cookies: await context.cookies() };
  return found;
};
