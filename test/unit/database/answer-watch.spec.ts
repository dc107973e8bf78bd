// Waits for answers end in time, each once, and with one timer for all of them.
import { setTimeout as sleep } from 'node:timers/promises';
import { AnswerWatch } from '../../../src/database/answer-watch.js';

describe('the watch over answers', () => {
  const watch = new AnswerWatch();
  const wait = (timeout: number, outcomes: unknown[]) =>
    watch.begin<string>(timeout, (error, answer) => outcomes.push(error?.message ?? answer));

  it('hands over an answer once, and nothing that comes after it', async () => {
    const outcomes: unknown[] = [];
    const take = wait(20, outcomes);
    take(null, 'answer');
    take(new Error('lost'));
    await sleep(60);
    expect(outcomes).toEqual(['answer']);
  });

  it('ends a wait when its time is up, and ignores an answer that comes too late', async () => {
    const outcomes: unknown[] = [];
    const take = wait(20, outcomes);
    await sleep(60);
    take(null, 'answer');
    expect(outcomes).toEqual(['query read timeout']);
  });

  it('ends a short wait that began after a long one, and then the long one', async () => {
    const outcomes: unknown[] = [];
    const begun = performance.now();
    const ended: number[] = [];
    for (const timeout of [400, 50])
      watch.begin(timeout, () => (outcomes.push(timeout), ended.push(performance.now() - begun)));
    await sleep(600);
    expect(outcomes).toEqual([50, 400]);
    expect(ended[0]).toBeGreaterThanOrEqual(50);
    expect(ended[0]).toBeLessThan(350);
    expect(ended[1]).toBeGreaterThanOrEqual(400);
  });

  it('ends a wait that began while another one ended', async () => {
    const outcomes: unknown[] = [];
    watch.begin(20, () => void wait(20, outcomes));
    await sleep(150);
    expect(outcomes).toEqual(['query read timeout']);
  });
});
