// @ts-check
// Writes the totals of a run as one line, "<passed> <failed> <skipped>", to the file named in TEST_TOTALS_FILE.
import { appendFileSync } from 'node:fs';

/** A reporter of the test runner. Does nothing where TEST_TOTALS_FILE is not set. */
export default class TotalsReporter {
  /** @param {unknown} _contexts @param {import('@jest/test-result').AggregatedResult} results */
  onRunComplete(_contexts, results) {
    const file = process.env.TEST_TOTALS_FILE;
    if (!file) return;
    // A file that does not even load has no tests to fail, and still is a failure.
    const failed = results.numFailedTests + results.numRuntimeErrorTestSuites;
    const skipped = results.numPendingTests + results.numTodoTests;
    appendFileSync(file, `${results.numPassedTests} ${failed} ${skipped}\n`);
  }
}
