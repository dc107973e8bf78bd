// What the dashboard's script asks for. A token never leaves the server: the browser gets its expiry and a fingerprint.
import { createHash } from 'node:crypto';
import { Controller, Get, UseGuards } from '@nestjs/common';
import { CurrentSession, type OAuthSession, SessionGuard, TokenService } from 'nest-oauth-client';
import { DemoSettings, demoProviders } from './demo-settings.js';
import { RefreshCounter } from './refresh-counter.service.js';

/** JSON for the dashboard. Without a session every route here answers 401. */
@Controller('api')
@UseGuards(SessionGuard)
export class ApiController {
  constructor(
    private readonly tokens: TokenService,
    private readonly refreshes: RefreshCounter,
    private readonly settings: DemoSettings,
  ) {}

  /** The access token as it is now, renewed if its time is running out. */
  @Get('token')
  async token(@CurrentSession() session: OAuthSession): Promise<object> {
    const token = await this.tokens.getAccessToken(session);
    return {
      type: token.type,
      scope: token.scope,
      fingerprint: createHash('sha256').update(token.value).digest('hex').slice(0, 10),
      secondsLeft: token.expiresAt && Math.max(0, Math.round((token.expiresAt.getTime() - Date.now()) / 100) / 10),
      refreshes: this.refreshes.count,
      lastRefreshMs: this.refreshes.lastMs,
    };
  }

  /** Asks the provider's API about the user. */
  @Get('profile')
  async profile(@CurrentSession() session: OAuthSession): Promise<object> {
    const provider = demoProviders(this.settings).find(({ definition }) => definition.name === session.provider)!;
    const began = performance.now();
    const answer = await this.tokens.fetch(session, provider.apiUrl);
    const body: unknown = await answer.json();
    return { url: provider.apiUrl, status: answer.status, ms: Math.round(performance.now() - began), body };
  }
}
