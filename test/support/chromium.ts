// A real browser for the tests that need one: the machine's own Chromium.
import { chromium, type Browser, type LaunchOptions } from 'playwright-core';
import { findProgram } from './programs.js';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome-stable', 'google-chrome', 'microsoft-edge'];
const ELSEWHERE = [
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  'C:\\Program Files\\Google\\Chrome\\Application\\chrome.exe',
];

/** Nothing but what a test asks for goes over the network, and QUIC does not pass by a proxy in between. */
const QUIET = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  '--disable-quic',
  '--disable-dev-shm-usage',
];

const UNBOXED = ['--no-sandbox'];

/** The program to run: `CHROMIUM_PATH`, or what is found on this machine, or null. */
export function findChromium(): string | null {
  return process.env.CHROMIUM_PATH || findProgram(NAMES, ['/usr/bin', '/usr/local/bin', '/snap/bin'], ELSEWHERE);
}

/**
 * Starts the browser, without a window.
 *
 * @returns Null where there is none. A test then skips and says so: `describe.skip` by {@link findChromium}.
 * @throws {Error} Where there is none and `CI` is set: there the browser tests may not be passed over.
 */
export async function launchChromium(options: LaunchOptions = {}): Promise<Browser | null> {
  const executablePath = findChromium();
  if (executablePath === null) {
    if (process.env.CI)
      throw new Error('No Chromium on this machine. Install it (apt-get install chromium) or set CHROMIUM_PATH.');
    return null;
  }
  const start = (sandbox: string[]) =>
    chromium.launch({ ...options, executablePath, args: [...sandbox, ...QUIET, ...(options.args ?? [])] });
  if (process.getuid?.() === 0) return start(UNBOXED);
  try {
    return await start([]);
  } catch (failure) {
    // Many containers give nobody but root the means to make a sandbox. Only pages of our own are opened here.
    if (!/no usable sandbox|sandbox_host|setuid sandbox/i.test(String(failure))) throw failure;
    return start(UNBOXED);
  }
}
