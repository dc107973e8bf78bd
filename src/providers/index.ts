// `nest-oauth-client/providers`: ready-made provider definitions.
export { github, type GitHubOptions } from './github.js';
export { google, type GoogleOptions } from './google.js';
export { oauth2 } from './oauth2.js';
export { oidc } from './oidc.js';
