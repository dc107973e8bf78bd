// Tests in a real browser: they run where there is one, must run in CI, and say so where they are left out.
import { describe } from '@jest/globals';
import { findChromium } from './chromium.js';

const missing = findChromium() === null && !process.env.CI;
if (missing)
  console.warn('No Chromium here: the browser tests of this file are skipped. Set CHROMIUM_PATH to run them.');

/** `describe`, or `describe.skip` where there is no browser and this is not CI. */
export const describeInBrowser: typeof describe | typeof describe.skip = missing ? describe.skip : describe;
