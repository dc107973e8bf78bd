// How applications refresh that do it by hand: one POST with the client's secret in its body.

/** @returns the tokens @throws what the provider answered instead */
export async function refreshTokens({ tokenEndpoint, clientId, clientSecret }, refreshToken) {
  const response = await fetch(tokenEndpoint, {
    method: 'POST',
    body: new URLSearchParams({
      client_id: clientId,
      client_secret: clientSecret,
      grant_type: 'refresh_token',
      refresh_token: refreshToken,
    }),
  });
  const tokens = await response.json();
  if (!response.ok) throw new Error(`the provider answered ${response.status}: ${tokens.error}`);
  return tokens;
}
