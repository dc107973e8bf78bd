import { exportJWK, generateKeyPair, CompactSign } from 'jose';
import { type JwsOrigin, KeySet } from '../../../src/providers/key-set.js';

const MINUTE = 60_000;

async function key(kid?: string) {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const name = kid === undefined ? {} : { kid };
  const sign = () => new CompactSign(Buffer.from('{}')).setProtectedHeader({ alg: 'ES256', ...name }).sign(privateKey);
  return { jwk: { ...(await exportJWK(publicKey)), ...name }, sign };
}

function setOf(published: object[]) {
  const state = { published, now: 0, fetches: 0, down: false };
  const keys = new KeySet(
    'p',
    async () => {
      state.fetches++;
      if (state.down) throw new Error('down');
      return JSON.stringify({ keys: state.published });
    },
    () => state.now,
  );
  return { state, verify: (jws: string, origin?: JwsOrigin) => keys.verify(jws, ['ES256'], origin && { origin }) };
}

describe('a key set', () => {
  it('C-028 follows a key that changed 30 s after the last fetch', async () => {
    const [first, second] = [await key('1'), await key('2')];
    const { state, verify } = setOf([first.jwk]);
    await verify(await first.sign());
    Object.assign(state, { published: [second.jwk], now: 30_000 });
    await verify(await second.sign());
    expect(state.fetches).toBe(2);
  });

  it('follows a key that was replaced under the same name, or has none', async () => {
    for (const kid of ['same', undefined]) {
      const [first, second] = [await key(kid), await key(kid)];
      const { state, verify } = setOf([first.jwk]);
      await verify(await first.sign());
      Object.assign(state, { published: [second.jwk], now: 30_000 });
      await verify(await second.sign());
    }
  });

  it('E-102 refuses a withdrawn key once the cache is five minutes old', async () => {
    const [first, second] = [await key('1'), await key('2')];
    const { state, verify } = setOf([first.jwk, second.jwk]);
    await verify(await first.sign());
    Object.assign(state, { published: [second.jwk], now: 5 * MINUTE + 1 });
    await expect(verify(await first.sign())).rejects.toMatchObject({ code: 'invalid_id_token' });
  });

  it('E-101 believes old keys for an hour while the endpoint is down, then no more', async () => {
    const first = await key('1');
    const { state, verify } = setOf([first.jwk]);
    await verify(await first.sign());
    Object.assign(state, { down: true, now: 10 * MINUTE });
    await verify(await first.sign());
    state.now = 61 * MINUTE;
    await expect(verify(await first.sign())).rejects.toThrow();
  });

  it('E-097 fetches at most once in ten seconds for unknown names', async () => {
    const [first, stranger] = [await key('1'), await key('9')];
    const { state, verify } = setOf([first.jwk]);
    await verify(await first.sign());
    state.now = 1_000;
    for (let i = 0; i < 20; i++) await expect(verify(await stranger.sign())).rejects.toThrow();
    expect(state.fetches).toBe(2);
    state.now = 12_000;
    await expect(verify(await stranger.sign())).rejects.toThrow();
    expect(state.fetches).toBe(3);
  });

  it.each(['logout', 'browser'] as const)(
    'E-097 lets no %s token with an unknown name spend the fetch of answers to our own requests',
    async (origin) => {
      const [first, second, stranger] = [await key('1'), await key('2'), await key('9')];
      const { state, verify } = setOf([first.jwk]);
      await verify(await first.sign());
      state.now = 1_000;
      for (let i = 0; i < 5; i++)
        await expect(verify(await stranger.sign(), origin)).rejects.toMatchObject({ code: 'invalid_id_token' });
      expect(state.fetches).toBe(2);
      Object.assign(state, { published: [second.jwk], now: 2_000 });
      await verify(await second.sign());
      expect(state.fetches).toBe(3);
    },
  );

  it('E-097 passes no judgement on a refresh whose key is not published yet, or may not be looked for yet', async () => {
    const [first, second, stranger] = [await key('1'), await key('2'), await key('9')];
    const { state, verify } = setOf([first.jwk]);
    await verify(await first.sign());
    state.now = 1_000;
    await expect(verify(await stranger.sign(), 'refresh')).rejects.toMatchObject({ code: 'provider_unavailable' });
    Object.assign(state, { published: [second.jwk], now: 2_000 });
    await expect(verify(await second.sign(), 'refresh')).rejects.toMatchObject({ code: 'provider_unavailable' });
    state.now = 12_000;
    await verify(await second.sign(), 'refresh');
    expect(state.fetches).toBe(3);
  });

  it.each(['answer', 'refresh', 'logout', 'browser'] as const)(
    'E-097 finds a new key for every %s token that comes before the fetch for the first of them has ended',
    async (origin) => {
      const [first, second] = [await key('1'), await key('2')];
      const { state, verify } = setOf([first.jwk]);
      await verify(await first.sign());
      Object.assign(state, { published: [first.jwk, second.jwk], now: 30_000 });
      const tokens = await Promise.all([1, 2, 3].map(() => second.sign()));
      await Promise.all(tokens.map((token) => verify(token, origin)));
      expect(state.fetches).toBe(2);
    },
  );

  it('E-097 judges no token by keys that were asked for before it came, where it may ask again', async () => {
    const [first, second, stranger] = [await key('1'), await key('2'), await key('9')];
    const asked: ((keys: object[]) => void)[] = [];
    const download = () => new Promise<string>((come) => asked.push((keys) => come(JSON.stringify({ keys }))));
    const keys = new KeySet('p', download);
    const verify = async (jws: string, origin: JwsOrigin) => keys.verify(jws, ['ES256'], { origin });
    const known = verify(await first.sign(), 'answer');
    asked[0]!([first.jwk]);
    await known;
    const forged = verify(await stranger.sign(), 'logout').catch(({ code }: { code: string }) => code);
    while (asked.length < 2) await new Promise(setImmediate);
    const own = verify(await second.sign(), 'refresh');
    await new Promise(setImmediate);
    asked[1]!([first.jwk]);
    expect(await forged).toBe('invalid_id_token');
    while (asked.length < 3) await new Promise(setImmediate);
    asked[2]!([first.jwk, second.jwk]);
    await own;
  });

  it('waits for keys no longer than its caller may, and fetches on for others', async () => {
    const first = await key('1');
    let come!: (text: string) => void;
    const keys = new KeySet('p', () => new Promise<string>((resolve) => (come = resolve)));
    const caller = new AbortController();
    const impatient = keys.verify(await first.sign(), ['ES256'], { signal: caller.signal });
    const patient = keys.verify(await first.sign(), ['ES256']);
    caller.abort();
    await expect(impatient).rejects.toMatchObject({ code: 'provider_unavailable' });
    come(JSON.stringify({ keys: [first.jwk] }));
    await patient;
  });

  it('E-098 tries each of several keys that might fit', async () => {
    const [first, second] = [await key(), await key()];
    const { verify } = setOf([first.jwk, second.jwk]);
    await verify(await first.sign());
    await verify(await second.sign());
    await expect(verify(await (await key()).sign())).rejects.toMatchObject({ code: 'invalid_id_token' });
  });
});
