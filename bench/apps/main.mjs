// One process under test: starts the variant named in its argument, says `ready`, then answers over IPC.
import { catalogue } from './catalogue.mjs';

const options = JSON.parse(process.argv[2]);

/** Bytes held after the garbage is gone; needs `--expose-gc`. */
async function heapBytes() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function start() {
  const { load } = catalogue[options.variant];
  const { build } = await load();
  return build(options);
}

try {
  const app = await start();
  process.on('message', async (message) => {
    if (message.stop) {
      // The profiler writes its file on a normal exit only.
      await Promise.race([app.close?.(), new Promise((resolve) => setTimeout(resolve, 2000))]).catch(() => undefined);
      process.exit(0);
    }
    try {
      const value = message.question.heap ? await heapBytes() : await app.asked?.(message.question);
      process.send({ id: message.id, value });
    } catch (error) {
      process.send({ id: message.id, error: String(error) });
    }
  });
  process.once('disconnect', () => process.exit(0));
  process.send({ ready: { url: `http://127.0.0.1:${options.port}` } });
} catch (error) {
  process.send({ failed: error?.stack ?? String(error) });
}
