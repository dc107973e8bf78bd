// @ts-check
// How the one server and its template are handed from the setup to the test files: through the environment.

/** Holds the superuser's connection URL of the server. */
export const SERVER_VARIABLE = 'NEST_OAUTH_TEST_SERVER';

/** Holds the name of the migrated database that clones are made of. */
export const TEMPLATE_VARIABLE = 'NEST_OAUTH_TEST_TEMPLATE';

/**
 * The beginning of the name of every clone of a template, unique to the run.
 *
 * @param {string} template
 */
export function clonePrefix(template) {
  return template.replace('oauth_template_', 'oauth_test_') + '_';
}
