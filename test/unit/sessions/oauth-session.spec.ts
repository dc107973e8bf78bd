import { sessionOf } from '../../../src/sessions/oauth-session.js';
import { foundIn, type SessionRow } from '../../../src/sessions/session-record.js';

const NOW = 1_764_000_000_123.456;
const row: SessionRow = [
  ...(['hash', 'id', 'user', 'account', 'grant', 'github', 'sid', NOW - 5_000, '2', ['pwd', 'otp']] as const),
  ...([NOW - 4_000, NOW - 3_000, NOW + 1_000, NOW + 2_000, 'https://issuer.example', 'subject'] as const),
  ...([{ name: 'Ada', username: 'ada', email: null, emailVerified: null, picture: null }, ['read'], 3, NOW] as const),
] as unknown as SessionRow;

describe('a session made of a looked-up row', () => {
  it('has what the row says, times as dates', () => {
    const session = sessionOf(foundIn(row, 0));
    expect({ ...session }).toEqual({
      id: 'id',
      user: { id: 'user', provider: 'github', subject: 'subject', profile: row[16] },
      provider: 'github',
      scope: ['read'],
      createdAt: new Date(NOW - 4_000),
      expiresAt: new Date(NOW + 2_000),
      authTime: new Date(NOW - 5_000),
      acr: '2',
      amr: ['pwd', 'otp'],
    });
  });

  it('shares nothing that can be changed with another session of the same record', () => {
    const found = foundIn(row, 0);
    const first = sessionOf(found);
    (first.scope as string[]).push('admin');
    (first.amr as string[]).push('hwk');
    Object.assign(first.user.profile, { name: 'Mallory', role: 'admin' });
    first.createdAt.setTime(0);
    expect(sessionOf(found)).toMatchObject({ scope: ['read'], amr: ['pwd', 'otp'], createdAt: new Date(NOW - 4_000) });
    expect(sessionOf(found).user.profile).toEqual({
      ...{ name: 'Ada', username: 'ada', email: null, emailVerified: null, picture: null },
    });
  });
});
