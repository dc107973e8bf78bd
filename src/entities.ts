// All entities, for applications without `autoLoadEntities`.
import { Account } from './accounts/account.entity.js';
import { StoredAccessToken } from './grants/access-token.entity.js';
import { Grant } from './grants/grant.entity.js';
import { Revocation } from './grants/revocation.entity.js';
import { LogoutToken } from './sessions/logout-token.entity.js';
import { Session } from './sessions/session.entity.js';
import { State } from './state/state.entity.js';

/** The entities of this package, for the `entities` of a TypeORM DataSource. */
export const oauthEntities = [State, Account, Grant, StoredAccessToken, Session, LogoutToken, Revocation];
