// What both providers have in common: they are started with their options in the first argument, tell the runner over
// IPC where they are, answer its questions, and end when told to or when the runner has gone.

/** Options of this provider: `port`, `clientId` and its own. */
export const options = JSON.parse(process.argv[2]);

export const issuer = `http://127.0.0.1:${options.port}`;

/** The one client's secret. */
export const clientSecret = 'a client secret for the benchmark only';

/**
 * Listens, and says so.
 *
 * @param {import('node:http').Server} server
 * @param {string} authorizationPath where a login starts
 * @param {Record<string, (argument: any) => unknown>} [questions] by name, what the runner may ask
 */
export function serve(server, authorizationPath, questions = {}) {
  process.on('message', (message) => {
    if (message.stop) process.exit(0);
    const [[name, argument]] = Object.entries(message.question);
    process.send({ id: message.id, value: questions[name](argument) });
  });
  process.once('disconnect', () => process.exit(0));
  server.keepAliveTimeout = 120_000;
  const provider = {
    issuer,
    authorizationEndpoint: `${issuer}${authorizationPath}`,
    tokenEndpoint: `${issuer}/token`,
    jwksUri: `${issuer}/jwks`,
    clientId: options.clientId,
    clientSecret,
  };
  server.listen(options.port, '127.0.0.1', () => process.send({ ready: { provider } }));
}
