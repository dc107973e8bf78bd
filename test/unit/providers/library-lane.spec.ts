// Configurations of the protocol library that are used again: none serves two calls, and no request finds a call that is over.
import * as client from 'openid-client';
import { Lanes } from '../../../src/providers/library-lane.js';
import { ProviderCall } from '../../../src/providers/provider-call.js';

const metadata = { issuer: 'https://idp.example' };

function lanes() {
  const answered: ProviderCall[] = [];
  const made = new Lanes<ProviderCall>(
    () => new client.Configuration(metadata, 'client'),
    (_url, _options, call) => Promise.resolve((answered.push(call), new Response())),
  );
  return { answered, begin: () => new ProviderCall(metadata, {}, made) };
}

const ask = (config: client.Configuration) => config[client.customFetch]!('https://idp.example', {} as never);

it('calls at the same time have configurations of their own, and their requests find back to them', async () => {
  const { answered, begin } = lanes();
  const [first, second] = [begin(), begin()];
  expect(first.config).not.toBe(second.config);
  await ask(second.config);
  await ask(first.config);
  expect(answered).toEqual([second, first]);
  expect(answered[0]).toBe(second);
});

it('the configuration of a call that ended well serves the next one', async () => {
  const { answered, begin } = lanes();
  const first = begin();
  const { config } = first;
  expect(first.config).toBe(config);
  first.end();
  const second = begin();
  expect(second.config).toBe(config);
  await ask(config);
  expect(answered).toHaveLength(1);
  expect(answered[0]).toBe(second);
});

it('that of a call that never ended well serves nobody else', () => {
  const { begin } = lanes();
  const { config } = begin();
  expect(begin().config).not.toBe(config);
});

it('a request after the end of its call goes nowhere', async () => {
  const { answered, begin } = lanes();
  const call = begin();
  const { config } = call;
  call.end();
  call.end();
  await expect(ask(config)).rejects.toThrow('ended');
  expect(answered).toEqual([]);
  expect(begin().config).toBe(config);
  expect(begin().config).not.toBe(config);
});
