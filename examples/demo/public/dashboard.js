// The moving parts of the dashboard: a countdown, the API's answer, the list of sessions. It knows no token.
const by = (id) => document.getElementById(id);

/** Fetches JSON; a session that has ended leads back to the front page. */
async function ask(url, init) {
  const answer = await fetch(url, { ...init, headers: { accept: 'application/json' } });
  const body = await answer.json();
  if (answer.ok) return (notice(), body);
  if (body.reconnectUrl) return (notice('The provider no longer honours this grant.', body.reconnectUrl), null);
  if (answer.status === 401) return (location.assign('/'), null);
  notice(body.title ?? `The server answered ${answer.status}.`);
  return null;
}

function notice(text = '', loginUrl = '') {
  const element = by('notice');
  element.hidden = text === '';
  element.textContent = text;
  if (loginUrl === '') return;
  const link = Object.assign(document.createElement('a'), { href: loginUrl, textContent: 'Log in again' });
  element.append(' ', link);
}

let token = null;
let asOf = 0;
let longest = 0;

async function askToken() {
  const next = await ask('/api/token');
  if (!next) return;
  if (token && token.fingerprint !== next.fingerprint) flash();
  [token, asOf] = [next, performance.now()];
  longest = Math.max(longest, next.secondsLeft ?? 0);
  by('fingerprint').textContent = next.fingerprint;
  by('refreshes').textContent = `${next.refreshes} since the demo started`;
  by('took').textContent = next.lastRefreshMs === null ? '–' : `${next.lastRefreshMs} ms`;
}

function flash() {
  const card = document.querySelector('.token');
  card.classList.add('fresh');
  by('token-line').textContent = 'Renewed just now, once, for every tab and every process.';
  setTimeout(() => {
    card.classList.remove('fresh');
    by('token-line').textContent = 'Renewed when half of its life is over, so a caller never gets a stale one.';
  }, 4000);
}

function draw() {
  if (!token) return;
  if (token.secondsLeft === null) return void (by('seconds').textContent = 'does not expire');
  const left = Math.max(0, token.secondsLeft - (performance.now() - asOf) / 1000);
  by('seconds').textContent = `${Math.ceil(left)} s left`;
  by('bar').style.transform = `scaleX(${longest > 0 ? left / longest : 0})`;
}

async function askApi() {
  const answer = await ask('/api/profile');
  if (!answer) return;
  const status = Object.assign(document.createElement('span'), {
    className: answer.status === 200 ? 'ok' : '',
    textContent: `${answer.status}`,
  });
  by('api-line').replaceChildren(status, ` after ${answer.ms} ms, from `, code(answer.url));
  by('api-body').textContent = JSON.stringify(answer.body, null, 2);
}

async function askSessions() {
  const sessions = await ask('/auth/sessions');
  if (!sessions) return;
  by('sessions').replaceChildren(
    ...sessions.map(({ id, userAgent, createdAt, current }) => {
      const item = document.createElement('li');
      const text = document.createElement('span');
      const since = new Date(createdAt).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
      text.append(
        browserName(userAgent ?? ''),
        Object.assign(document.createElement('small'), { textContent: `since ${since}` }),
      );
      item.append(text, current ? badge('this one') : endButton(id));
      return item;
    }),
  );
}

function endButton(id) {
  const button = Object.assign(document.createElement('button'), {
    className: 'small',
    type: 'button',
    textContent: 'End',
  });
  button.addEventListener('click', async () => {
    await ask(`/auth/sessions/${id}`, { method: 'DELETE' });
    await askSessions();
  });
  return button;
}

function badge(text) {
  return Object.assign(document.createElement('span'), { className: 'badge', textContent: text });
}

function code(text) {
  return Object.assign(document.createElement('code'), { textContent: text });
}

function browserName(userAgent) {
  const known = ['Firefox', 'Edg', 'Chrome', 'Safari'].find((name) => userAgent.includes(name));
  return known === 'Edg' ? 'Edge' : (known ?? 'Another client');
}

/** Asks again and again while the page is seen; a failed attempt is followed by the next. */
function every(milliseconds, task) {
  const run = () => document.visibilityState === 'visible' && task().catch(() => notice('The demo does not answer.'));
  void run();
  setInterval(run, milliseconds);
}

for (const time of document.querySelectorAll('time'))
  time.textContent = new Date(time.dateTime).toLocaleString([], { dateStyle: 'medium', timeStyle: 'short' });
by('ask').addEventListener('click', () => void askApi());
every(1000, askToken);
every(5000, askApi);
every(10_000, askSessions);
setInterval(draw, 200);
