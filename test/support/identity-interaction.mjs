// @ts-check
// The steps a person takes at the identity provider: the sign-in page, its form, giving up. Consent is never asked for.
// @see https://github.com/panva/node-oidc-provider/blob/main/docs/README.md#user-flows
import { signInPage } from './identity-pages.mjs';

/** @typedef {import('oidc-provider').Provider} Provider */

/**
 * Answers a request below /interaction.
 *
 * @param {Provider} provider
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 * @param {object} about
 * @param {import('./oidc-provider.mjs').ProviderAccount[]} about.accounts
 * @param {string | undefined} about.autoSignIn
 * @param {string[] | undefined} about.acrValues
 * @param {import('./oidc-provider.mjs').LoggedRequest} about.entry Gets the form's fields.
 * @returns {Promise<boolean>} False when the request is for another path.
 * @throws {Error} When there is no such interaction in this browser, or no more.
 */
export async function interact(provider, request, response, { accounts, autoSignIn, acrValues, entry }) {
  const [matched, step] = /^\/interaction\/[^/]+(?:\/(login|cancel))?$/.exec(entry.path) ?? [];
  if (matched === undefined) return false;
  const { uid, prompt, params, grantId, session } = await provider.interactionDetails(request, response);
  const finish = async (/** @type {import('oidc-provider').InteractionResults} */ result) => {
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    return true;
  };

  if (step === 'cancel') return finish({ error: 'access_denied', error_description: 'The person said no.' });
  if (prompt.name === 'consent') {
    // Asking for consent is always answered with yes: the requested scope is granted when the grant is loaded.
    const grant = (grantId && (await provider.Grant.find(grantId))) || new provider.Grant();
    Object.assign(grant, { clientId: params.client_id, accountId: session?.accountId });
    grant.addOIDCScope(String(params.scope ?? 'openid'));
    return finish({ consent: { grantId: await grant.save() } });
  }

  if (step === 'login') entry.body = Object.fromEntries(await formOf(request));
  const typed = step === 'login' ? entry.body.username?.trim() : autoSignIn;
  const account = accounts.find(({ username }) => username === typed?.toLowerCase());
  if (account) {
    const acr = String(params.acr_values ?? '')
      .split(' ')
      .find((value) => acrValues?.includes(value));
    return finish({ login: { accountId: account.sub, amr: ['pwd'], ...(acr && { acr }) } });
  }
  const client = await provider.Client.find(String(params.client_id));
  response.writeHead(step === 'login' ? 422 : 200, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
  });
  response.end(
    signInPage({
      ...{ action: `/interaction/${uid}/login`, cancel: `/interaction/${uid}/cancel` },
      client: client?.clientName ?? String(params.client_id),
      usernames: accounts.map(({ username }) => username),
      hint: typed ?? String(params.login_hint ?? ''),
      ...(typed !== undefined && { problem: `There is no account named ${typed}.` }),
    }),
  );
  return true;
}

/** @param {import('node:http').IncomingMessage} request */
async function formOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString('utf8'));
}
